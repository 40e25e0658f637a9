"""The parts of a strategy's file: its settings in the catalogue, and its methods, most of which do nothing."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from keyturn.core.errors import UnsupportedOperation
from keyturn.core.ports.hub import Hub
from keyturn.core.ports.keys import KeyMaker
from keyturn.core.ports.strategies import Change, RevokeResult, Strategy
from keyturn.core.rights.rights import HubPlaces, Section
from keyturn.core.schedule.renewal_info import RenewalAdviser
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text.connections import Connection
from keyturn.settings.requests import ShortName
from keyturn.settings.timing import Timing


class Tools(Protocol):
    @property
    def hub(self) -> Hub:
        """The hub, for what its engines make."""

    @property
    def clock(self) -> Callable[[], datetime]:
        """The time now, with a time zone."""

    @property
    def keys(self) -> KeyMaker:
        """What makes asymmetric keys."""

    @property
    def adviser(self) -> RenewalAdviser | None:
        """The adviser on the renewal of certificates; None where the operator names none."""

    def target(self, name: str) -> Any:
        """The opened target of that name: its kind is among the settings' ``targets``."""


class StrategySettings(Timing):
    """The catalogue's settings of one secret's rotation: a subclass for each strategy, selected by ``strategy``."""

    if TYPE_CHECKING:
        strategy: str

    recipe: ShortName | None = None
    """The recipe that the other settings were filled in from; `strategy` is then left out."""

    targets: ClassVar[frozenset[str]] = frozenset()
    """The kinds of target that it works at; empty for a strategy without ``target``."""
    claims: ClassVar[tuple[str, ...]] = ()
    """The keys whose values only one secret may rotate at its target; a value may be a list."""
    claims_role: ClassVar[bool] = False
    """Whether only one secret may have the ``role`` of the hub's engine at ``mount``."""
    takes_back: ClassVar[bool] = True
    """Whether a replaced credential can be put in force again, for a canary that is not healthy."""
    renews: ClassVar[bool] = False
    """Whether the credential must be kept alive between rotations."""
    leaves_tokens: ClassVar[bool] = False
    """Whether tokens of the hub ask for it at ``mount``, which outlive a run that died with one."""

    @classmethod
    def needs_target(cls) -> bool:
        """Whether an entry without a target is incomplete."""
        return "target" in cls.model_fields and cls.model_fields["target"].is_required()

    @property
    def asks_for_renewal(self) -> bool:
        """Whether a server is asked when the credential is to be replaced."""
        return False

    @property
    def declared_fields(self) -> frozenset[str]:
        """The fields of the secret that the entry itself names as replaced: the hub has them already."""
        return frozenset()

    def open(self, path: str, tools: Tools) -> Strategy:
        """Return the strategy for the secret at ``path``."""
        raise NotImplementedError

    def for_emergency(self) -> "StrategySettings":
        """Return the settings for the replacement in a revocation."""
        return self

    def commands_to_end(self) -> Iterable[str]:
        """Return the commands that end its credentials at the hub without Keyturn."""
        return ()

    def rights(self, places: HubPlaces) -> Iterator[Section]:
        """Yield its rights in the hub, except those to the secret itself."""
        return iter(())

    def rights_to_revoke(self, places: HubPlaces) -> Iterator[Section]:
        """Yield its further rights in an emergency."""
        return iter(())

    def rights_to_ask(self, places: HubPlaces) -> Iterator[Section]:
        """Yield the rights of the tokens that it makes to ask for leases."""
        return iter(())


class LoginTarget(Protocol):
    def read_connection(self, text: Sensitive, /) -> Connection | None:
        """Return the login in a connection string to this server and database; None for any other text."""

    def check_login(self, account: str, password: Sensitive, /) -> None:
        """Log in on a new connection. Raises CandidateRejected when the password is refused."""


class AtLoginTarget(Protocol):
    @property
    def target(self) -> LoginTarget:
        """The target."""


class StrategyBase:
    """A strategy whose mint changes nothing elsewhere, and that has nothing to end: subclasses override this."""

    mints_at_target = False
    overlaps = True
    reports_use = False
    """Whether :meth:`in_use` knows every use of a key since a moment."""
    credential_fields: Collection[str]

    def preflight(self, current: SecretFields | None, candidate: SecretFields | None) -> None:
        """Accept every credential."""

    def install(self, change: Change) -> None:
        """Do nothing: the candidate works from its mint on, or there is no target."""

    def abandon(self, change: Change) -> None:
        """End the candidate as an old credential is ended, unless CURRENT holds it by now."""
        given_up = self.credential_id(change.candidate)
        if given_up and (change.current is None or given_up != self.credential_id(change.current)):
            self.retire(given_up, change.sequence)

    def credential_id(self, current: SecretFields) -> Mapping[str, str]:
        return {}

    def in_use(self, credential_id: Mapping[str, str], since: datetime) -> Sequence[str]:
        return ()

    def retire(self, credential_id: Mapping[str, str], sequence: int) -> None:
        """End nothing."""

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        return RevokeResult()

    def last_sequence(self, credentials: Sequence[SecretFields] = ()) -> int:
        return 0

    def find_everything(self, spared: Sequence[SecretFields]) -> Iterable[str]:
        raise no_place("there is no target that could refuse it")

    def revoke_found(self, name: str, sequence: int) -> RevokeResult:
        raise no_place("there is no target that could refuse it")

    def accepts(self, credential: SecretFields) -> bool | None:
        return None


class LoginStrategy(StrategyBase):
    """A strategy whose credential is a login, and whose old one works until the candidate is verified.

    Copies may hold it as a connection string: :class:`keyturn.core.ports.strategies.ReadsConnections`.
    """

    def read_connection(self: AtLoginTarget, text: Sensitive) -> Connection | None:
        return self.target.read_connection(text)

    def check_connection(self: AtLoginTarget, connection: Connection) -> None:
        self.target.check_login(connection.account, connection.password)


def text_of(fields: SecretFields | None, name: str) -> str | None:
    """Return a field that is a name and no value; None where it is missing or empty."""
    return (fields[name].reveal() or None) if fields is not None and name in fields else None


def no_place(why: str) -> UnsupportedOperation:
    """Return the error of a strategy that can't find a secret's credentials by their place."""
    return UnsupportedOperation("look for credentials of", "the secret", why, "What no version names is ended by hand")
