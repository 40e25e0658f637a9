"""A client secret of an application in Entra ID: each version is one more secret, and the old one is removed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal, Protocol, Self

from pydantic import WithJsonSchema, model_validator

from keyturn.core.errors import Invalid
from keyturn.core.ports.rest import parse_moment
from keyturn.core.ports.strategies import EXPIRES_AT, Change, RevokeResult
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.settings import durations
from keyturn.settings.fields import Line, PositiveDuration, matching, refused
from keyturn.strategies.base import StrategyBase, StrategySettings, Tools, text_of

MOST_OWN: Final = 50
"""How many secrets may have one label: with more, something fails repeatedly."""

LONGEST_LABEL: Final = 90
"""Characters, which the lists that people see show in full."""

FRESH: Final = timedelta(hours=1)
"""How long a part of the directory may not know a new secret."""

TOKENS: Final = (
    "access tokens that {} has got, until they end: 60 to 90 minutes, and up to 24 hours at Microsoft Graph where it "
    "asked for continuous access evaluation. Only disabling its service principal ends them sooner"
)
"""Source: "Configurable token lifetimes", and "Continuous access evaluation for workload identities"."""


class Password(Protocol):
    @property
    def key_id(self) -> str:
        """Its id."""

    @property
    def name(self) -> str:
        """Its display name, which may be empty."""

    @property
    def hint(self) -> str:
        """The first characters of its value; empty where Graph does not show them."""

    @property
    def end(self) -> datetime:
        """When it expires."""


class Application(Protocol):
    @property
    def passwords(self) -> Sequence[Password]:
        """All of them."""

    @property
    def room(self) -> int:
        """How many can be added."""


class ApplicationTarget(Protocol):
    name: str

    def application(self, application: str) -> Application:
        """The application as it is now. Raises NotFound."""

    def add_password(self, application: str, label: str, end: datetime) -> tuple[Password, Sensitive]:
        """A new secret that lives until ``end``, and its value."""

    def remove_password(self, application: str, key_id: str, *, fresh: bool = True) -> None:
        """Remove one secret. Absent is success; one that may be ``fresh`` is looked for several times."""

    def check_login(self, application: str, key_id: str, secret: Sensitive, now: datetime) -> None:
        """Sign in as the application. Raises CandidateRejected, or Unavailable while the secret may be too new."""

    def takes(self, application: str, secret: Sensitive) -> bool:
        """Whether the application can sign in with ``secret`` now."""


class AzureAppSecret(StrategyBase):
    """Secrets of ``application`` with a ``label`` of their maker, each valid for ``life``.

    Asking for a secret makes it at once, so the intent is saved first, with the existing secrets. After a crash, newer
    secrets with the label that are in no version are removed.
    """

    credential_fields = frozenset({"client_id", "client_secret", "key_id", EXPIRES_AT})
    mints_at_target = True

    def __init__(
        self, target: ApplicationTarget, application: str, label: str, life: timedelta, clock: Callable[[], datetime]
    ) -> None:
        self.target = target
        self.application = application
        self.label = label
        self.life = life
        self.clock = clock

    def preflight(self, current: SecretFields | None, candidate: SecretFields | None) -> None:
        for fields in (current, candidate):
            if fields is not None and text_of(fields, "client_id") not in (None, self.application):
                problem = f"the secret names another application ({text_of(fields, 'client_id')})"
                raise self._invalid(problem, "Correct application in its rotation, or client_id in the hub")
        application = self.target.application(self.application)
        if current is not None:
            self._check_owner(current, application)
        if candidate is None:
            self._check_room(application)

    def existing_ids(self) -> Sequence[str]:
        return tuple(password.key_id for password in self._own(self.target.application(self.application)))

    def mint(self, current: SecretFields | None) -> SecretFields:
        password, secret = self.target.add_password(self.application, self.label, self.clock() + self.life)
        return SecretFields(
            {
                "client_id": self.application,
                "client_secret": secret,
                "key_id": password.key_id,
                EXPIRES_AT: password.end.astimezone(UTC).isoformat(),
            }
        )

    def remove_orphans(self, before: Sequence[str], credentials: Sequence[SecretFields]) -> None:
        spared = {*before, *(text_of(fields, "key_id") for fields in credentials)}
        for password in self._own(self.target.application(self.application)):
            if password.key_id not in spared:
                self.target.remove_password(self.application, password.key_id)

    def verify(self, change: Change) -> None:
        candidate = change.candidate
        key_id, secret = candidate["key_id"].reveal(), candidate["client_secret"]
        self.target.check_login(self.application, key_id, secret, self.clock())

    def abandon(self, change: Change) -> None:
        key_id = text_of(change.candidate, "key_id")
        if key_id and not (change.current and text_of(change.current, "key_id") == key_id):
            self.target.remove_password(self.application, key_id)

    def credential_id(self, current: SecretFields) -> Mapping[str, str]:
        key_id = text_of(current, "key_id")
        application = text_of(current, "client_id") or self.application
        return {"application": application, "key_id": key_id} if key_id else {}

    def retire(self, credential_id: Mapping[str, str], sequence: int) -> None:
        """Remove the old secret. Its tokens stay valid until they end, for an hour or so."""
        if "key_id" in credential_id:
            self.target.remove_password(credential_id["application"], credential_id["key_id"])

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        """Remove the version's secret; one without a key id is found by its first characters."""
        named = text_of(credential, "client_id")
        if named not in (None, self.application):
            remark = f"a secret of {named}, another application, which the secret held: remove it there by hand"
            return RevokeResult(outlives=(remark,))
        key_id = text_of(credential, "key_id")
        if key_id is None:
            return self._revoke_unnamed(credential)
        self.target.remove_password(self.application, key_id, fresh=self._fresh(credential))
        return RevokeResult(outlives=(TOKENS.format(self.application),))

    def find_everything(self, spared: Sequence[SecretFields]) -> Iterator[str]:
        serving = {text_of(fields, "key_id") for fields in spared}
        listed = self.target.application(self.application).passwords
        yield from (password.key_id for password in listed if password.key_id not in serving)

    def revoke_found(self, name: str, sequence: int) -> RevokeResult:
        self.target.remove_password(self.application, name, fresh=False)
        return RevokeResult(outlives=(TOKENS.format(self.application),))

    def accepts(self, credential: SecretFields) -> bool | None:
        if not credential.get("client_secret"):
            return None
        application = text_of(credential, "client_id") or self.application
        return self.target.takes(application, credential["client_secret"])

    def _revoke_unnamed(self, credential: SecretFields) -> RevokeResult:
        if not self.accepts(credential):
            return RevokeResult()
        begins, listed = credential["client_secret"].reveal(), self.target.application(self.application).passwords
        key_ids = [password.key_id for password in listed if password.hint and begins.startswith(password.hint)]
        if len(key_ids) != 1:
            remark = f"a secret of {self.application} whose version has no key_id, and {len(key_ids)} begin like it"
            return RevokeResult(outlives=(f"{remark}: remove it by hand",))
        self.target.remove_password(self.application, key_ids[0], fresh=False)
        return RevokeResult(outlives=(TOKENS.format(self.application),))

    def _fresh(self, credential: SecretFields) -> bool:
        made = parse_moment(text_of(credential, "rotated_at") or "")
        return made is None or self.clock() - made < FRESH

    def _own(self, application: Application) -> list[Password]:
        return [password for password in application.passwords if password.name == self.label]

    def _check_owner(self, current: SecretFields, application: Application) -> None:
        key_id = text_of(current, "key_id")
        key_ids = [password.key_id for password in application.passwords]
        if "client_id" in current or key_id is None or key_id in key_ids:
            return
        problem = "the secret that serves is none of this application's"
        raise self._invalid(problem, "Correct application in its rotation, or key_id in the hub")

    def _check_room(self, application: Application) -> None:
        if application.room < 1:
            raise self._invalid("it can't hold one more secret", "Remove its unused secrets")
        if len(self._own(application)) >= MOST_OWN:
            problem = f'it holds {len(self._own(application))} secrets that are called "{self.label}"'
            raise self._invalid(problem, "Find out why they were left, and remove all but the one that serves")

    def _invalid(self, problem: str, hint: str) -> Invalid:
        return Invalid("rotate", f"{self.target.name}:{self.application}", problem, hint)


# --- in the catalogue --------------------------------------------------------------------------------------

GUID: Final = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"


class AzureAppSecretSettings(StrategySettings):
    """A client secret of an application in Entra ID; each version is one more secret with a limited life."""

    targets = frozenset({"microsoft-graph"})
    claims = ("application",)
    ends_by_itself = True

    strategy: Literal["azure-app-secret"]
    """How the secret is replaced."""
    target: Line
    """The name of the target whose directory the application is in."""
    application: Annotated[
        str,
        matching(GUID, "is not an application (client) id", "Copy it from the application's overview, in lower case."),
        WithJsonSchema({"type": "string", "pattern": GUID}),
    ]
    """The application (client) id, which is not the object id. No other secret may rotate it."""
    life: PositiveDuration = timedelta(days=180)
    """How long each secret is valid; longer than the time between two rotations and grace together."""

    @model_validator(mode="after")
    def _outlives_its_grace(self) -> Self:
        # Without a time of its own, a secret is replaced at two thirds of its life.
        needed = self.grace * 3 if self.longest is None else self.longest + self.grace
        if self.life <= needed:
            problem = f"a secret of {durations.show(self.life)} would expire before its grace is over"
            raise refused(problem, f"Make it longer than {durations.show(needed)}, or rotate more often.", "life")
        return self

    def open(self, path: str, tools: Tools) -> AzureAppSecret:
        label = f"keyturn {path}"[:LONGEST_LABEL]
        return AzureAppSecret(tools.target(self.target), self.application, label, self.life, tools.clock)
