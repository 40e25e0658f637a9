"""What is read of a store that refuses for haste, refuses single secrets, or stops answering."""

from collections.abc import Sequence

from keyturn.core.errors import Denied, Throttled, Unavailable
from keyturn.core.sensitive import Sensitive
from keyturn.inventory.store_inventory import ATTEMPTS, BATCH, FAILURES, StoreInventory, take_store_inventory
from keyturn.inventory.values import Digests
from keyturn.sync.pace import Pace
from tests.support.memory_store import MemoryStore


class Hasty(MemoryStore):
    """Refuses its first reads for haste."""

    refusals = 2

    def read_many(self, remotes: Sequence[str]) -> dict[str, Sensitive]:
        """The values, once it was waited for."""
        if self.refusals:
            self.refusals -= 1
            raise Throttled("read", self.name, "slow down", retry_after=7.0)
        return super().read_many(remotes)


class Guarded(MemoryStore):
    """Refuses one secret, and whatever is asked for together with it."""

    def read(self, remote: str) -> Sensitive:
        """The value."""
        if remote == "closed":
            raise Denied("read", f"{self.name}:closed", "it denies that")
        return super().read(remote)

    def read_many(self, remotes: Sequence[str]) -> dict[str, Sensitive]:
        """The values."""
        return {remote: self.read(remote) for remote in remotes}


class Silent(MemoryStore):
    """Lists, and answers no read."""

    reads = 0

    def read_many(self, remotes: Sequence[str]) -> dict[str, Sensitive]:
        """Nothing."""
        self.reads += 1
        raise Unavailable("read", self.name, "no answer")


def filled(store: MemoryStore, *names: str) -> MemoryStore:
    """The store with these, which somebody has put there."""
    for name in names:
        store.put_by_hand(name, f"value of {name}")
    return store


def looked_at(store: MemoryStore) -> tuple[StoreInventory, list[float]]:
    """What is found, and how long was waited."""
    waits: list[float] = []
    pace = Pace(None, clock=lambda: sum(waits), sleep=waits.append)
    return take_store_inventory("one", store, Digests(), lambda _: None, pace), waits


def test_who_asks_for_a_slower_pace_is_waited_for() -> None:
    found, waits = looked_at(filled(Hasty("one"), "a", "b"))
    assert ([stored.name for stored in found.secrets], found.unread) == (["a", "b"], ())
    assert waits == [7.0, 7.0]


def test_who_never_stops_refusing_is_told_as_unread_after_a_bound() -> None:
    store = Hasty("one")
    store.refusals = 1000
    found, waits = looked_at(filled(store, "a"))
    assert (found.secrets, [unread.name for unread in found.unread]) == ((), ["one:a"])
    assert store.refusals == 1000 - ATTEMPTS
    assert len(waits) == ATTEMPTS - 1


def test_a_secret_that_is_refused_hides_no_other() -> None:
    found, _ = looked_at(filled(Guarded("one"), "closed", "open"))
    assert [stored.name for stored in found.secrets] == ["open"]
    assert [(unread.name, unread.why) for unread in found.unread] == [
        ("one:closed", "it could not be read: it denies that")
    ]


def test_a_store_that_stops_answering_is_left_and_all_of_it_is_told() -> None:
    store = Silent("one")
    names = [f"s-{number:04}" for number in range(BATCH * (FAILURES + 2))]
    found, _ = looked_at(filled(store, *names))
    assert (store.reads, found.secrets) == (FAILURES, ())
    assert [unread.name for unread in found.unread] == [f"one:{name}" for name in names]
