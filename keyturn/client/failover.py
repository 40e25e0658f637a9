"""Several sources of the same secrets: the next is asked where one does not answer, and the first again later."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar, cast

from keyturn.client.secrets import Lends, Lists, NotServed, Secret, SecretSource
from keyturn.core.errors import Invalid, KeyturnError, TerminalError, TransientError, Unavailable, Unproven
from keyturn.core.rights.capabilities import capability

if TYPE_CHECKING:
    from keyturn.core.ports.engines import Lessor

T = TypeVar("T")

FIRST_REST: Final = 1.0
LONGEST_REST: Final = 30.0
"""Seconds for which a source that does not answer is left alone: twice as long each time."""


@dataclass(frozen=True, slots=True)
class Rest:
    """A source is left alone for so many ``seconds``, ``until`` then, since it failed with ``error``."""

    error: TransientError
    seconds: float
    until: float

    def of(self, path: str) -> TransientError:
        """The same said of another secret, which is not asked for meanwhile."""
        return type(self.error)("read", path, self.error.problem, self.error.hint)


@dataclass
class Breaker:
    """How a source has answered lately; it has no ``rest`` while it answers."""

    source: SecretSource
    rest: Rest | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answered(self) -> None:
        """It did: it is asked in its turn again."""
        if self.rest:
            with self.lock:
                self.rest = None

    def failed(self, error: TransientError, now: float) -> None:
        """It did not. Of several that ask at once, the first one's failure counts."""
        with self.lock:
            if self.rest is None or now >= self.rest.until:
                seconds = min(LONGEST_REST, 2 * self.rest.seconds) if self.rest else FIRST_REST
                self.rest = Rest(error, seconds, now + seconds)


class Failover:
    """Asks sources in their order. ``clock`` is monotonic, in seconds. Raises Invalid where there are none."""

    def __init__(self, sources: Sequence[SecretSource], clock: Callable[[], float]) -> None:
        if not sources:
            raise Invalid("read", "secrets", "there is no source to read them from", "Give SecretClient one")
        self._breakers = [Breaker(source) for source in sources]
        self._clock = clock

    @property
    def health(self) -> dict[str, KeyturnError | None]:
        """All sources by their names, and how each has failed that did not answer when it was asked last."""
        return {each.source.name: each.rest.error if each.rest else None for each in self._breakers}

    def read(self, path: str, fits: Callable[[Secret], bool]) -> Secret:
        """The secret from the first that answers and whose answer ``fits``; that there is none is an answer, too.

        Raises Unavailable where all that answered serve what does not fit, and else the first failure; NotServed where
        none of them has a place for it.
        """
        errors: list[KeyturnError] = []
        for breaker in self._awake(errors, path=path):
            try:
                secret = _proven(partial(breaker.source.read, path))
            except TransientError as error:
                breaker.failed(error, self._clock())
                errors.append(error)
                continue
            except NotServed as error:
                errors.append(error)
                continue
            except TerminalError:
                breaker.answered()
                raise
            breaker.answered()
            if fits(secret):
                return secret
            errors.append(lagging(secret))
        raise next((error for error in errors if not isinstance(error, NotServed)), errors[0])

    def read_many(self, paths: Sequence[str], fits: Callable[[Secret], bool]) -> dict[str, Secret]:
        """What the first that answers serves of these, and fits; whatever is left is to be read by itself."""
        for breaker in self._awake([]):
            try:
                served = _proven(partial(breaker.source.read_many, paths))
            except TransientError as error:
                breaker.failed(error, self._clock())
            except TerminalError:
                return {}
            else:
                breaker.answered()
                return {path: secret for path, secret in served.items() if fits(secret)}
        return {}

    def versions(self, paths: Sequence[str]) -> tuple[str, dict[str, str]]:
        """The first source that answers, and which revisions it serves. Raises KeyturnError where none does."""
        return self._first(self._breakers, lambda source: (source.name, dict(source.versions(paths))))

    def below(self, folder: str) -> Sequence[str]:
        """The paths of all secrets below a folder, by the first that answers of those that can list them.

        Raises Invalid where none can.
        """
        listing = [each for each in self._breakers if capability(each.source, Lists)]
        if not listing:
            names = ", ".join(each.source.name for each in self._breakers)
            raise Invalid("list", f"{folder}/", f"none of the sources can list: {names}", "Name each secret by itself")
        return self._first(listing, lambda source: cast(Lists, source).below(folder))

    def lease(self, path: str, take: "Callable[[Lessor], T]") -> T:
        """What ``take`` makes of the first that answers of those that give leases. Raises Invalid where none does."""
        lending = [each for each in self._breakers if capability(each.source, Lends)]
        if not lending:
            problem = "none of the client's sources gives leases"
            raise Invalid("take a lease of", path, problem, "Give SecretClient the hub as a source")
        return self._first(lending, lambda source: take(cast(Lends, source).lessor))

    def _first(self, breakers: Sequence[Breaker], ask: Callable[[SecretSource], T]) -> T:
        errors: list[KeyturnError] = []
        for breaker in self._awake(errors, breakers):
            try:
                answer = _proven(partial(ask, breaker.source))
            except TransientError as error:
                breaker.failed(error, self._clock())
                errors.append(error)
            else:
                breaker.answered()
                return answer
        raise errors[0]

    def _awake(self, errors: list[KeyturnError], breakers: Sequence[Breaker] = (), path: str = "") -> Iterator[Breaker]:
        """Those that do not rest; of those that do, their last failure is added to ``errors``."""
        for breaker in breakers or self._breakers:
            rest = breaker.rest
            if rest and self._clock() < rest.until:
                errors.append(rest.of(path) if path else rest.error)
            else:
                yield breaker


def _proven(ask: Callable[[], T]) -> T:
    """What is answered. Where that may be somebody else than the source, this is away, and not refusing a login."""
    try:
        return ask()
    except Unproven as error:
        raise Unavailable(error.doing, error.name, error.problem, error.hint) from None


def lagging(secret: Secret) -> Unavailable:
    """What was served is older than what was seen or promised."""
    shown = f"version {secret.version}" if secret.version is not None else "what it served before"
    problem = f"it still serves {shown}, and a newer one was seen or promised"
    return Unavailable("read", f"{secret.source}:{secret.path}", problem, "See whether the newer one was synced there")
