"""Who of several workers does which items."""

import threading
from collections import Counter
from collections.abc import Callable

from keyturn.core.errors import Unavailable
from keyturn.core.plan import Action, Item
from keyturn.sync.apply import Result, result
from keyturn.sync.threads import BATCH, ReportResult
from keyturn.sync_processes.scheduler import Dealer, spread
from tests.support.hooks import eventually


def items(count: int, *stores: str) -> list[Item]:
    """So many secrets, each in all of these stores."""
    return [Item(Action.CREATE, f"s{n:04}", store, f"s{n:04}", 1) for n in range(count) for store in stores]


class Quick:
    """Does everything that it is given at once, and remembers it."""

    def __init__(self, *, ready: bool = True) -> None:
        self.alive = True
        self.did: list[Item] = []
        self._ready = ready

    def when_ready(self, then: Callable[[], None]) -> None:
        if self._ready:
            then()

    def give(self, given: list[Item], report: ReportResult) -> None:
        self.did += given
        for item in given:
            report(result(item, "created"))


class Slow(Quick):
    """Does nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.left: list[tuple[Item, ReportResult]] = []

    def give(self, given: list[Item], report: ReportResult) -> None:
        self.did += given
        self.left += [(item, report) for item in given]

    def die(self) -> None:
        """End, and answer for what was left."""
        self.alive = False
        for item, report in self.left:
            report(result(item, "failed", Unavailable("push to", item.label, "it has ended")))


def test_every_item_is_done_once() -> None:
    work, workers, told = items(333, "aws", "gcp"), [Quick(), Quick(), Quick()], list[Result]()
    spread(workers, work, told.append)
    assert sorted((one.store, one.name) for one in told) == sorted((item.store, item.name) for item in work)
    assert all(worker.did for worker in workers)


def test_nothing_to_do_is_soon_over() -> None:
    spread([Quick()], [], lambda _: None)


def test_the_copies_of_one_secret_go_to_one_worker() -> None:
    dealer = Dealer(items(400, "aws", "gcp"), 2)
    for worker in range(2):
        first = {store: [item.path for item in dealer.next(worker, store, 0)] for store in dealer.stores}
        assert first["aws"] == first["gcp"]
        assert len(first["aws"]) == BATCH


def test_a_worker_has_no_more_before_it_than_one_batch() -> None:
    dealer = Dealer(items(400, "aws"), 2)
    assert dealer.next(0, "aws", BATCH)
    assert not dealer.next(0, "aws", BATCH + 1)


def test_who_is_through_takes_of_what_others_have_not_begun() -> None:
    dealer = Dealer(items(4 * BATCH, "aws"), 2)
    own = [dealer.next(0, "aws", 0) for _ in range(2)]
    assert own[1][-1].path < f"s{2 * BATCH:04}"
    assert not dealer.next(0, "aws", 1)
    assert dealer.next(0, "aws", 0)[-1].path == f"s{4 * BATCH - 1:04}"
    assert dealer.next(1, "aws", 0)[0].path == f"s{2 * BATCH:04}"
    assert not dealer.next(1, "aws", 0)
    assert not dealer.next(0, "aws", 0)


def test_one_that_never_begins_leaves_everything_to_the_others() -> None:
    workers, told = [Quick(), Quick(ready=False)], list[Result]()
    spread(workers, items(5 * BATCH, "aws"), told.append)
    assert len(told) == 5 * BATCH
    assert not workers[1].did


def test_one_that_dies_costs_what_it_was_given_and_no_more() -> None:
    quick, slow, told = Quick(), Slow(), list[Result]()

    def ends_amid_it() -> None:
        assert eventually(lambda: slow.did and len(told) > BATCH)
        slow.die()

    ending = threading.Thread(target=ends_amid_it)
    ending.start()
    spread([quick, slow], items(20 * BATCH, "aws", "gcp"), told.append)
    ending.join()
    states = Counter(one.state for one in told)
    assert len(told) == 40 * BATCH
    assert states["failed"] == len(slow.did) <= 4 * BATCH
    assert {one.kind for one in told if one.state == "failed"} == {"Unavailable"}
