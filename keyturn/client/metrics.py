"""A client's metrics for any collector. Reading them adds no cost to a hit.

Hits are not counted, because counting one takes longer than serving it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Generic, TypeVar

from keyturn.client.client import SecretClient
from keyturn.client.statistics import Event

T = TypeVar("T")

Samples = Mapping[tuple[str, ...], float]
"""A value for each set of label texts, in the metric's order."""


class Kind(StrEnum):
    """How a metric may change."""

    COUNTER = "counter"
    """Only increases."""
    GAUGE = "gauge"
    """Increases and decreases."""


@dataclass(frozen=True)
class Distribution:
    """The numbers of observations up to each of the ascending ``bounds``, their total, and their sum."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    count: int
    sum: float


Distributions = Mapping[tuple[str, ...], Distribution]
"""A distribution for each set of label texts."""


@dataclass(frozen=True)
class Histogram(Generic[T]):
    """One distribution, or one for each set of ``labels``; otherwise as :class:`Metric`."""

    name: str
    help: str
    read: Callable[[T], Distributions]
    unit: str = "1"
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Metric(Generic[T]):
    """One metric, or one for each set of ``labels``. ``name`` has no prefix; ``unit`` is a UCUM unit."""

    name: str
    kind: Kind
    help: str
    read: Callable[[T], Samples]
    unit: str = "1"
    labels: tuple[str, ...] = ()


COUNTERS: Final = {
    Event.MISS: "Requests that were not in the map of hits.",
    Event.READ: "Values that a source gave.",
    Event.RENEWAL: "Times that a secret was read again behind the program's back.",
    Event.STALE: "Times that what was due to be read again was given, since no source answered.",
    Event.ERROR: "Times that no source gave a value.",
    Event.NOTICE: "Notices that were taken.",
    Event.OFFLINE: "Times that no source could be asked, and the offline file had it.",
    Event.REFUSED: "Times that an offline file was not believed.",
}


def metrics(*, per_secret: bool = False) -> Sequence[Metric[SecretClient]]:
    """All metrics; ``per_secret`` adds the age and version of each secret, with its path as a label."""
    return [*_of_all(), *(_of_each() if per_secret else ())]


def named(clients: SecretClient | Mapping[str, SecretClient]) -> Mapping[str, SecretClient]:
    """The clients by name; a single one is named ``default``."""
    return {"default": clients} if isinstance(clients, SecretClient) else clients


def _of_all() -> Iterator[Metric[SecretClient]]:
    for event, text in COUNTERS.items():
        yield Metric(str(event), Kind.COUNTER, text, _count_of(event))
    yield Metric("kept", Kind.GAUGE, "Secrets that are kept.", lambda client: {(): len(client.secrets())})
    yield Metric("kept_bytes", Kind.GAUGE, "Bytes of their names and values.", lambda client: {(): client.size}, "By")
    yield Metric("oldest_seconds", Kind.GAUGE, "How long ago the oldest of them was read.", _oldest, "s")
    yield Metric("kept_stale", Kind.GAUGE, "Those that were due to be read again when no source answered.", _stale)
    text = "1 for a source that answered when it was asked last, 0 for others."
    yield Metric("source_up", Kind.GAUGE, text, _up, labels=("source",))


def _of_each() -> Iterator[Metric[SecretClient]]:
    labels = ("path", "source")
    yield Metric("age_seconds", Kind.GAUGE, "How long ago a secret was read.", _ages, "s", labels)
    yield Metric("version", Kind.GAUGE, "Its version in the hub, if its source reports it.", _versions, labels=labels)


def _count_of(event: Event) -> Callable[[SecretClient], Samples]:
    return lambda client: {(): client.statistics[event]}


def _oldest(client: SecretClient) -> Samples:
    now = datetime.now(UTC)
    return {(): max((secret.age(now) for secret in client.secrets()), default=0.0)}


def _stale(client: SecretClient) -> Samples:
    return {(): sum(secret.stale for secret in client.secrets())}


def _up(client: SecretClient) -> Samples:
    return {(name,): float(error is None) for name, error in client.health.items()}


def _ages(client: SecretClient) -> Samples:
    now = datetime.now(UTC)
    return {(secret.path, secret.source): secret.age(now) for secret in client.secrets()}


def _versions(client: SecretClient) -> Samples:
    return {(secret.path, secret.source): secret.version for secret in client.secrets() if secret.version is not None}
