"""What a strategy's file is made of: its settings in the catalogue, and its verbs, most of which do nothing."""

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
from keyturn.settings.timing import Timing


class Tools(Protocol):
    """What a strategy may be opened with."""

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
        """Who suggests when certificates are renewed; None where the operator names nobody."""

    def target(self, name: str) -> Any:
        """The opened target of that name: its kind is among the settings' ``targets``."""


class StrategySettings(Timing):
    """What the catalogue says about one secret's rotation: a subclass for each strategy, told by ``strategy``."""

    if TYPE_CHECKING:
        strategy: str

    targets: ClassVar[frozenset[str]] = frozenset()
    """The kinds of target that it works at; empty for one that has no ``target``."""
    claims: ClassVar[tuple[str, ...]] = ()
    """The keys whose values name what only one secret may rotate at its target; a value may be a list."""
    claims_role: ClassVar[bool] = False
    """Whether the ``role`` of the hub's engine at ``mount`` may be no other secret's."""
    takes_back: ClassVar[bool] = True
    """Whether a credential that was replaced can be put in force again, for a canary that is not well."""
    renews: ClassVar[bool] = False
    """Whether the credential must be kept alive between rotations."""
    leaves_tokens: ClassVar[bool] = False
    """Whether tokens of the hub ask for it at ``mount``, which outlive a run that died with one."""

    @property
    def asks_for_renewal(self) -> bool:
        """Whether a server is asked when the credential is to be replaced."""
        return False

    @property
    def declared_fields(self) -> frozenset[str]:
        """The fields of the secret that the entry itself names as what is replaced: the hub has them already."""
        return frozenset()

    def open(self, path: str, tools: Tools) -> Strategy:
        """The strategy, ready to work on the secret at ``path``."""
        raise NotImplementedError

    def for_emergency(self) -> "StrategySettings":
        """What the replacement is made by in a revocation: the same settings, unless these say otherwise."""
        return self

    def commands_to_end(self) -> Iterable[str]:
        """What a person runs at the hub to end its credentials without Keyturn; nothing, unless an engine has them."""
        return ()

    def rights(self, places: HubPlaces) -> Iterator[Section]:
        """What it needs of the hub besides the secret itself; nothing, unless an engine of the hub does the work."""
        return iter(())

    def rights_to_revoke(self, places: HubPlaces) -> Iterator[Section]:
        """What it needs besides in an emergency."""
        return iter(())

    def rights_to_ask(self, places: HubPlaces) -> Iterator[Section]:
        """What the tokens need that it makes to ask for leases."""
        return iter(())


class LoginTarget(Protocol):
    """A target that connection strings lead to."""

    def read_connection(self, text: Sensitive, /) -> Connection | None:
        """Whose login at this server and database a connection string is; None for any other text."""

    def check_login(self, account: str, password: Sensitive, /) -> None:
        """Log in on a new connection. Raises CandidateRejected when the password is refused."""


class AtLoginTarget(Protocol):
    """A strategy that works at such a target."""

    @property
    def target(self) -> LoginTarget:
        """The target."""


class StrategyBase:
    """A strategy whose mint acts nowhere, and that has nothing to end: subclasses say what differs."""

    mints_at_target = False
    overlaps = True
    credential_fields: Collection[str]

    def preflight(self, current: SecretFields | None, candidate: SecretFields | None) -> None:
        """Nothing speaks against it."""

    def install(self, change: Change) -> None:
        """Nothing: the candidate works from its mint on, or there is no target."""

    def abandon(self, change: Change) -> None:
        """End the candidate as an old credential is ended, unless CURRENT has come to hold it."""
        given_up = self.credential_id(change.candidate)
        if given_up and (change.current is None or given_up != self.credential_id(change.current)):
            self.retire(given_up, change.sequence)

    def credential_id(self, current: SecretFields) -> Mapping[str, str]:
        """Nothing outside honours the old value."""
        return {}

    def in_use(self, credential_id: Mapping[str, str], since: datetime) -> Sequence[str]:
        """Nothing is known of its use."""
        return ()

    def retire(self, credential_id: Mapping[str, str], sequence: int) -> None:
        """Nothing to end."""

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        """Nothing outside honours it."""
        return RevokeResult()

    def last_sequence(self, credentials: Sequence[SecretFields] = ()) -> int:
        """The target keeps no number."""
        return 0

    def find_everything(self, spared: Sequence[SecretFields]) -> Iterable[str]:
        """Nobody can tell. Raises UnsupportedOperation."""
        raise no_place("there is no target that could be told to refuse it")

    def revoke_found(self, name: str, sequence: int) -> RevokeResult:
        """Nothing was found. Raises UnsupportedOperation."""
        raise no_place("there is no target that could be told to refuse it")

    def accepts(self, credential: SecretFields) -> bool | None:
        """Nobody can tell: there is no target."""
        return None


class LoginStrategy(StrategyBase):
    """A strategy whose credential is a login, and whose old one works until the candidate is seen to.

    Copies may hold it as a connection string: :class:`keyturn.core.ports.strategies.ReadsConnections`.
    """

    def read_connection(self: AtLoginTarget, text: Sensitive) -> Connection | None:
        """Whose login ``text`` is at the target."""
        return self.target.read_connection(text)

    def check_connection(self: AtLoginTarget, connection: Connection) -> None:
        """Log in at the target."""
        self.target.check_login(connection.account, connection.password)


def no_place(why: str) -> UnsupportedOperation:
    """What a strategy says that can't end a secret's credentials by their place."""
    return UnsupportedOperation("look for credentials of", "the secret", why, "What no version tells is ended by hand")
