"""Values that are made here and set at a REST API: for one account in place, or for two that alternate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from keyturn.core.errors import CandidateRejected, Invalid, KeyturnError, Unavailable
from keyturn.core.ports.rest import Answer, AnswerPattern, Listing, Request, RestApi
from keyturn.core.ports.strategies import EXPIRES_AT, Change, RevokeResult
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text import templates
from keyturn.core.text.passwords import PasswordPolicy, generate
from keyturn.settings.fields import Line, refused
from keyturn.settings.passwords import PasswordSettings
from keyturn.settings.requests import ListSettings, Pointer, RequestSettings, ShortName, check_names
from keyturn.strategies.base import Tools, no_place, text_of
from keyturn.strategies.rest import ABSENT, ApiSettings, ApiStrategy, KeyTest, TrySettings

CANDIDATE: Final = "candidate."
READ: Final = "read."
ACCOUNT: Final = "account"
"""The name of the account that a request is for."""

UNFIT: Final = frozenset({400, 409, 422})
"""The statuses by which an API refuses a value, or one that is set already."""

GAP: Final = "with one account, logins are refused from the change until the consumer has read the new value"


@dataclass(frozen=True)
class AccountRequests:
    """The requests for one account. ``answer`` has the pointers of what ``read`` shows, for the other requests."""

    change: Request
    create: Request | None = None
    disable: Request | None = None
    read: Request | None = None
    answer: Mapping[str, str] = field(default_factory=dict)
    sessions: Listing | None = None
    end_sessions: Request | None = None


class HttpPassword(ApiStrategy):
    """A value of one account that is changed in place, or of two accounts that alternate.

    ``account_field`` is the secret's field with its name. The API keeps no number of a rotation, so nothing is
    changed unless CURRENT logs in, or the candidate does: a late worker finds that neither does.
    """

    def __init__(
        self,
        api: RestApi,
        path: str,
        accounts: Sequence[str],
        policies: Mapping[str, PasswordPolicy],
        requests: AccountRequests,
        test: KeyTest,
        account_field: str = "username",
        constants: Mapping[str, str] | None = None,
        holds: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(api, path, constants or {}, holds or {})
        self.accounts = tuple(accounts)
        self.policies = dict(policies)
        self.requests = requests
        self.test = test
        self.account_field = account_field
        self.credential_fields = frozenset({account_field, *policies})
        self.overlaps = len(self.accounts) > 1

    def preflight(self, current: SecretFields | None, candidate: SecretFields | None) -> None:
        super().preflight(current, candidate)
        for fields in (current, candidate):
            if (named := text_of(fields, self.account_field)) is not None and named not in self.accounts:
                problem = f"the secret names {named}, which is not one of its accounts"
                hint = "Name it under accounts, or move on to them: `keyturn rotate PATH --now --change-account`"
                raise Invalid("rotate", f"{self.api.name}:{named}", problem, hint)
        if current is None or not self._has_value(current):
            return
        if (account := self._account(current)) is None:
            problem = f"the secret has no field {self.account_field}, so the account in use is unknown"
            hint = f"Write the one that consumers use into {self.account_field}: {' or '.join(self.accounts)}"
            raise Invalid("rotate", f"{self.api.name}:{self.path}", problem, hint)
        if self._refused(current) and (candidate is None or self._refused(candidate)):
            problem = "it refuses CURRENT, so the value was changed elsewhere, or a newer run is in charge"
            hint = "Write the value that works into the secret, or set a new one: "
            hint += "`keyturn rotate PATH --now --change-account`"
            raise Invalid("rotate", f"{self.api.name}:{account}", problem, hint)

    def mint(self, current: SecretFields | None) -> SecretFields:
        """Return new values: for the account that is not in use, or for the only one."""
        serving = self._account(current) if current is not None else None
        other = next((account for account in self.accounts if account != serving), self.accounts[0])
        return SecretFields({self.account_field: other, **self._new_values()})

    def _new_values(self) -> dict[str, Sensitive]:
        return {name: generate(policy) for name, policy in self.policies.items()}

    def install(self, change: Change) -> None:
        self._set_values(change.candidate, "set a new value at")

    def verify(self, change: Change) -> None:
        """Try the candidate; where it is set in place, then check that the API refuses CURRENT."""
        self.test.insist(self._tried(change.candidate))
        current = change.current
        if current is None or not self._has_value(current) or self._account(current) != self._account(change.candidate):
            return
        for _ in range(self.test.tries - 1):
            if not self._accepted(current):
                return
            self.test.sleep(1)
        if self._accepted(current):
            hint = "Set `patience` under `test` if it takes a while. If the API keeps old values, use http-api-key"
            raise Unavailable(
                "check the change at", self.api.name, "it accepts the old value next to the new one", hint
            )

    def abandon(self, change: Change) -> None:
        """Restore CURRENT's value; without one, or for the account not in use, set a value that no one knows."""
        account, current = self._account(change.candidate), change.current
        if current is not None and self._has_value(current) and account == self._account(current):
            if not self.overlaps:
                self._set_values(current, "restore the value at", Invalid)
        elif account is not None and not self._refused(change.candidate):
            self._block(account)

    def credential_id(self, current: SecretFields) -> Mapping[str, str]:
        """Return the account, where the other one serves next."""
        account = self._account(current) if self.overlaps else None
        return {self.account_field: account} if account else {}

    def in_use(self, credential_id: Mapping[str, str], since: datetime) -> Sequence[str]:
        account = credential_id.get(self.account_field)
        count = len(self._sessions(account)) if account else 0
        return (f"{self.api.name}:{account} has {count} open sessions",) if count else ()

    def retire(self, credential_id: Mapping[str, str], sequence: int) -> None:
        if account := credential_id.get(self.account_field):
            self._block(account)

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        """Refuse the version's value unless the API does already, and end the account's sessions."""
        if name := self.foreign(credential):
            return self.left_to_others(name)
        account = self._account(credential)
        if account is None or not self._has_value(credential):
            return RevokeResult()
        if account not in self.accounts:
            remark = f"{account} at {self.api.name}, which is not one of its accounts: change its value by hand"
            return RevokeResult(outlives=() if self._refused(credential) else (remark,))
        if not self._refused(credential):
            self._block(account)
        return self._end_sessions(account)

    def find_everything(self, spared: Sequence[SecretFields]) -> Sequence[str]:
        accounts = " and ".join(self.accounts)
        raise no_place(f"{self.api.name} does not show which value {accounts} has, so a newer one could end instead")

    def accepts(self, credential: SecretFields) -> bool | None:
        fields = self._tried(credential)
        if self.foreign(credential) or not all(fields.get(name) for name in self.test.request.names):
            return None
        return self.test.refusal(fields) is None

    def _account(self, fields: SecretFields) -> str | None:
        """Return the account of a version; the only one where it names none."""
        return text_of(fields, self.account_field) or (None if self.overlaps else self.accounts[0])

    def _has_value(self, fields: SecretFields) -> bool:
        return all(fields.get(name) for name in self.policies)

    def _refused(self, fields: SecretFields) -> bool:
        """Whether the API clearly refuses this version's value."""
        try:
            return self.accepts(fields) is False
        except KeyturnError:
            return False

    def _accepted(self, fields: SecretFields) -> bool:
        try:
            return self.accepts(fields) is True
        except KeyturnError:
            return False

    def _tried(self, version: SecretFields) -> SecretFields:
        values = {CANDIDATE + name: version[name] for name in self.policies if version.get(name)}
        return self._named(self._account(version), values)

    def _named(self, account: str | None, values: Mapping[str, Sensitive]) -> SecretFields:
        return self.fields({**({ACCOUNT: Sensitive(account)} if account else {}), **values})

    def _set_values(self, version: SecretFields, doing: str, rejection: type[KeyturnError] = CandidateRejected) -> None:
        """Set a version's values. Raises ``rejection`` where the API refuses them and they are not set already."""
        fields = self._tried(version)
        account, shown = fields[ACCOUNT].reveal(), self._read(fields, doing)
        answer = self._send(self.requests.change, shown, doing, ABSENT) if shown else None
        if answer is None or ABSENT.matches(answer):
            if self.requests.create is None:
                hint = "Create it, or describe `create`, in the catalogue"
                raise Invalid(doing, self.api.name, f"there is no account {account}", hint)
            answer = self._send(self.requests.create, fields, doing)
        if answer.status in UNFIT and not self._accepted(version):
            hint = "Compare its rules for values with `generate`, and the request with its documentation"
            raise rejection(doing, f"{self.api.name}:{account}", f"it refuses the value with {answer.status}", hint)

    def _send(self, request: Request, fields: SecretFields, doing: str, *also: AnswerPattern) -> Answer:
        return self.api.call(request, fields, doing, also=(AnswerPattern(UNFIT - request.expect), *also))

    def _read(self, fields: SecretFields, doing: str) -> SecretFields | None:
        """Return ``fields`` with what `read` shows of the account; None where there is no such account."""
        if self.requests.read is None:
            return fields
        answer = self.api.call(self.requests.read, fields, doing, also=(ABSENT,))
        shown = {READ + name: answer.text(pointer) for name, pointer in self.requests.answer.items()}
        lacking = sorted(name.removeprefix(READ) for name, value in shown.items() if value is None)
        if ABSENT.matches(answer) or (self.requests.create and len(lacking) == len(shown)):
            return None
        if lacking:
            problem = f"its answer to `read` lacks {', '.join(lacking)}"
            raise Invalid(doing, self.api.name, problem, "Correct the pointers under `answer` of `read`")
        return fields.merged(shown)

    def _block(self, account: str) -> None:
        """Disable an account, or set a value that no one knows. Absent is success."""
        doing = "block an account at"
        values = {CANDIDATE + name: value for name, value in self._new_values().items()}
        if fields := self._read(self._named(account, values), doing):
            self.api.call(self.requests.disable or self.requests.change, fields, doing, also=(ABSENT,))

    def _sessions(self, account: str) -> Sequence[Answer]:
        listing = self.requests.sessions
        return self.api.listed(listing, self._named(account, {}), "list the sessions at") if listing else ()

    def _end_sessions(self, account: str) -> RevokeResult:
        if self.requests.end_sessions is None:
            remark = f"sessions and tokens that {account} has open at {self.api.name}: no request that ends them is set"
            return RevokeResult(outlives=(remark,))
        count = len(self._sessions(account))
        self.api.call(self.requests.end_sessions, self._named(account, {}), "end the sessions at", also=(ABSENT,))
        return RevokeResult(count)


# --- in the catalogue --------------------------------------------------------------------------------------


def _one_or_two(accounts: tuple[str, ...]) -> tuple[str, ...]:
    if len(accounts) > 2:
        raise refused("more than two accounts can't alternate", "Name one, or two.")
    if len(set(accounts)) != len(accounts):
        raise refused("the two accounts are the same", "Name two: one serves while the other is changed.")
    return accounts


class ReadSettings(RequestSettings):
    """A request that shows an account as it is now."""

    answer: Annotated[dict[ShortName, Pointer], Field(min_length=1)]
    """What the other requests need of its answer, as {{read.NAME}}: for each name, a JSON pointer."""


class HttpPasswordSettings(ApiSettings):
    """A value that Keyturn makes and sets at a REST API, for one account or for two that alternate."""

    claims = ("accounts",)

    strategy: Literal["http-password"]
    """How the secret is replaced."""
    accounts: Annotated[tuple[Line, ...], Field(min_length=1), AfterValidator(_one_or_two)]
    """The account that is changed in place, or two that alternate. No other secret may rotate them."""
    accepts_gap: bool = False
    """True, once it is accepted that one account's logins are refused until consumers have read the new value."""
    account_field: ShortName = "username"
    """The secret's field with the account's name."""
    generate: Annotated[dict[ShortName, PasswordSettings], Field(min_length=1)] = Field(
        default_factory=lambda: {"password": PasswordSettings()}
    )
    """The secret's fields that Keyturn makes, each with its rules; requests name them {{candidate.FIELD}}."""
    change: RequestSettings
    """The request that sets the value of an account (PUT); it must open a blocked account again."""
    test: TrySettings
    """The request that tries a value (GET), which is sent without the target's own headers."""
    create: RequestSettings | None = None
    """The request that creates an account that is absent, with its value (POST)."""
    disable: RequestSettings | None = None
    """The request that blocks an account (POST); without it, `change` sets a value that no one knows."""
    read: ReadSettings | None = None
    """The request that shows an account before it is changed (GET), for what `change` must repeat."""
    sessions: ListSettings | None = None
    """The request that lists the open sessions of an account (GET)."""
    end_sessions: RequestSettings | None = None
    """The request that ends the sessions of an account (DELETE), for an emergency."""

    @model_validator(mode="after")
    def _gap_is_known(self) -> Self:
        if len(self.accounts) == 1 and not self.accepts_gap:
            raise refused(GAP, "Say accepts_gap: true if it can bear that, else name two accounts.", "accepts_gap")
        if len(self.accounts) == 2 and self.accepts_gap:
            raise refused("two accounts that alternate leave no gap", "Leave it out.", "accepts_gap")
        return self

    @model_validator(mode="after")
    def _fields_are_distinct(self) -> Self:
        if taken := sorted({"rotated_at", EXPIRES_AT} & {self.account_field, *self.generate}):
            raise refused(f"the name {taken[0]} has a meaning already", "Choose another name.", "generate")
        if ACCOUNT in self.constants:
            raise refused(f"the name {ACCOUNT} has a meaning already", "Choose another name.", "constants")
        if self.account_field in self.generate:
            raise refused(f"{self.account_field} names the account", "Choose another field.", "generate")
        if twice := sorted({self.account_field, *self.generate} & self.holds.keys()):
            raise refused(f"{twice[0]} changes with each rotation", "Name a field that stays the same.", "holds")
        return self

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        names = {*self.constants, "path", ACCOUNT}
        values = {CANDIDATE + name for name in self.generate}
        read = {READ + name for name in (self.read.answer if self.read else {})}
        check_names(self.change, "change", {*names, *values, *read}, "admin.")
        check_names(self.create, "create", {*names, *values}, "admin.")
        check_names(self.disable, "disable", {*names, *read}, "admin.")
        check_names(self.test, "test", {*names, *values})
        others = {"read": self.read, "sessions": self.sessions, "end_sessions": self.end_sessions}
        for key, request in others.items():
            check_names(request, key, names, "admin.")
        for key, sent in (("change", self.change), ("create", self.create)):
            if sent and (unsent := sorted(values - sent.names)):
                problem = f"the request does not send {unsent[0].removeprefix(CANDIDATE)}, which is generated"
                raise refused(problem, f"Put {{{{{unsent[0]}}}}} into its body or form.", key)
        if not self.test.names & values:
            fields = ", ".join(f"{{{{{name}}}}}" for name in sorted(values))
            raise refused("the request does not use the value", f"Put {fields} into it, such as its basic.", "test")
        for key, request in {"change": self.change, "create": self.create, "test": self.test}.items():
            if request and values & set(templates.names(request.path)):
                problem = "a value in a path is in the logs of every server on the way"
                raise refused(problem, "Put it into a header or the body.", key)
        return self

    @model_validator(mode="after")
    def _requests_name_the_account(self) -> Self:
        by_read = {READ + name for name in self.read.answer} if self.read and ACCOUNT in self.read.names else set()
        for key in ("change", "test", "disable", "sessions", "end_sessions"):
            request: RequestSettings | None = getattr(self, key)
            if len(self.accounts) == 2 and key != "test" and request and not request.names & {ACCOUNT, *by_read}:
                problem = "the request does not say which of the two accounts it is for"
                raise refused(problem, "Put {{account}} into its path or body.", key)
        return self

    @property
    def declared_fields(self) -> frozenset[str]:
        return frozenset(self.generate)

    def open(self, path: str, tools: Tools) -> HttpPassword:
        api = tools.target(self.target)
        requests = AccountRequests(
            self.change.request("PUT"),
            self.create.request("POST") if self.create else None,
            self.disable.request("POST") if self.disable else None,
            self.read.request("GET") if self.read else None,
            self.read.answer if self.read else {},
            self.sessions.listing if self.sessions else None,
            self.end_sessions.request("DELETE") if self.end_sessions else None,
        )
        policies = {name: rules.policy for name, rules in self.generate.items()}
        return HttpPassword(
            api,
            path,
            self.accounts,
            policies,
            requests,
            self.test.key_test(api),
            self.account_field,
            self.constants,
            self.holds,
        )
