"""Several sources of the same secrets, each used while those before it do not answer."""

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
"""Seconds before a source that did not answer is asked again; doubled each time."""


@dataclass(frozen=True, slots=True)
class Rest:
    """A source failed with ``error``, and is not asked for ``seconds``, until ``until``."""

    error: TransientError
    seconds: float
    until: float

    def of(self, path: str) -> TransientError:
        """The same error for another secret."""
        return type(self.error)("read", path, self.error.problem, self.error.hint)


@dataclass
class Breaker:
    """The recent state of a source."""

    source: SecretSource
    rest: Rest | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answered(self) -> None:
        """Record an answer, so that the source is asked again."""
        if self.rest:
            with self.lock:
                self.rest = None

    def failed(self, error: TransientError, now: float) -> None:
        """Record a failure; of concurrent ones, only the first counts."""
        with self.lock:
            if self.rest is None or now >= self.rest.until:
                seconds = min(LONGEST_REST, 2 * self.rest.seconds) if self.rest else FIRST_REST
                self.rest = Rest(error, seconds, now + seconds)


class Failover:
    """Asks sources in order. ``clock`` is monotonic, in seconds. Raises Invalid without a source."""

    def __init__(self, sources: Sequence[SecretSource], clock: Callable[[], float]) -> None:
        if not sources:
            raise Invalid("read", "secrets", "there is no source to read them from", "Give SecretClient one")
        self._breakers = [Breaker(source) for source in sources]
        self._clock = clock

    @property
    def health(self) -> dict[str, KeyturnError | None]:
        """See :attr:`SecretClient.health`."""
        return {each.source.name: each.rest.error if each.rest else None for each in self._breakers}

    def read(self, path: str, fits: Callable[[Secret], bool]) -> Secret:
        """The secret from the first source that answers with one that ``fits``; NotFound is an answer too.

        Raises Unavailable where no answer fits, otherwise the first failure. Raises NotServed where no source has a
        place for it.
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
        """The secrets that the first answering source serves, and that fit."""
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
        """The first answering source, and its revisions. Raises KeyturnError where none answers."""
        return self._first(self._breakers, lambda source: (source.name, dict(source.versions(paths))))

    def below(self, folder: str) -> Sequence[str]:
        """The paths of all secrets below a folder, from the first answering source that can list.

        Raises Invalid where none can.
        """
        listing = [each for each in self._breakers if capability(each.source, Lists)]
        if not listing:
            names = ", ".join(each.source.name for each in self._breakers)
            raise Invalid("list", f"{folder}/", f"none of the sources can list: {names}", "Name each secret by itself")
        return self._first(listing, lambda source: cast(Lists, source).below(folder))

    def lease(self, path: str, take: "Callable[[Lessor], T]") -> T:
        """The result of ``take`` for the first answering source with leases. Raises Invalid without one."""
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
        """The sources to ask; ``errors`` receives the others' last failures."""
        for breaker in breakers or self._breakers:
            rest = breaker.rest
            if rest and self._clock() < rest.until:
                errors.append(rest.of(path) if path else rest.error)
            else:
                yield breaker


def _proven(ask: Callable[[], T]) -> T:
    """Return the answer. One that may not come from the source counts as Unavailable, not as a refused login."""
    try:
        return ask()
    except Unproven as error:
        raise Unavailable(error.doing, error.name, error.problem, error.hint) from None


def lagging(secret: Secret) -> Unavailable:
    """The error for a secret that is older than a seen or promised one."""
    shown = f"version {secret.version}" if secret.version is not None else "what it served before"
    problem = f"it still serves {shown}, and a newer one was seen or promised"
    return Unavailable("read", f"{secret.source}:{secret.path}", problem, "See whether the newer one was synced there")
