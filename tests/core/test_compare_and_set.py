"""One change among many writers: what each attempt reads, how long it waits, and when it gives up."""

from dataclasses import dataclass, field

import pytest

from keyturn.core.compare_and_set import ATTEMPTS, FIRST_PAUSE, LONGEST_PAUSE, VersionedEntry, change_entry, jittered
from keyturn.core.errors import Conflict, Contended, NotFound, TransientError


@dataclass
class Shelf:
    """A number that others change ``intrusions`` times, each time before a write arrives."""

    number: int = 0
    version: int = 0
    intrusions: int = 0
    reads: int = 0
    pauses: list[int] = field(default_factory=list)

    def read(self) -> tuple[int, int]:
        self.reads += 1
        return self.number, self.version

    def write(self, before: tuple[int, int], wanted: int) -> str:
        if self.intrusions:
            self.intrusions -= 1
            self.number, self.version = self.number + 100, self.version + 1
        if before[1] != self.version:
            raise Conflict("write", "shelf", "the version is another one")
        self.number, self.version = wanted, self.version + 1
        return f"version {self.version}"

    @property
    def entry(self) -> VersionedEntry[tuple[int, int], int, str]:
        return VersionedEntry("shelf", self.read, self.write, lambda before: f"process {before[0]}", "Look who it is")

    def add_one(self) -> tuple[tuple[int, int], str | None]:
        return change_entry(self.entry, lambda before: before[0] + 1, self.pauses.append)


def test_a_change_is_laid_over_whatever_another_writer_has_left() -> None:
    shelf = Shelf(intrusions=3)
    assert shelf.add_one() == ((300, 3), "version 4")
    assert (shelf.number, shelf.pauses) == (301, [0, 1, 2])


def test_where_nothing_is_to_be_changed_nothing_is_written() -> None:
    shelf = Shelf(number=7)
    assert change_entry(shelf.entry, lambda before: None, shelf.pauses.append) == ((7, 0), None)
    assert shelf.version == 0


def test_what_was_read_before_is_not_read_again_unless_it_has_moved() -> None:
    shelf = Shelf()
    change_entry(shelf.entry, lambda before: 1, shelf.pauses.append, first=(0, 0))
    assert shelf.reads == 0
    change_entry(shelf.entry, lambda before: before[0] + 1, shelf.pauses.append, first=(0, 0))
    assert (shelf.reads, shelf.number) == (1, 2)


def test_after_so_many_writes_of_others_it_says_who_came_first_and_what_to_do() -> None:
    shelf = Shelf(intrusions=ATTEMPTS)
    with pytest.raises(Contended) as raised:
        shelf.add_one()
    problem = f"others keep writing it: {ATTEMPTS} times a write of theirs came first"
    assert str(raised.value) == f"change shelf: {problem}, the last one by process {100 * ATTEMPTS}. Look who it is"
    assert isinstance(raised.value, TransientError)
    assert shelf.pauses == list(range(ATTEMPTS - 1))
    assert shelf.number == 100 * ATTEMPTS


def test_one_intrusion_less_and_the_last_attempt_succeeds() -> None:
    shelf = Shelf(intrusions=ATTEMPTS - 1)
    assert shelf.add_one()[1] == f"version {ATTEMPTS}"


def test_what_the_change_itself_refuses_is_not_tried_again() -> None:
    def refuse(before: tuple[int, int]) -> int:
        raise Conflict("decide", "shelf", "it is another's by now")

    shelf = Shelf()
    with pytest.raises(Conflict, match="it is another's by now"):
        change_entry(shelf.entry, refuse, shelf.pauses.append)
    assert (shelf.reads, shelf.pauses) == (1, [])


def test_what_a_write_raises_but_a_conflict_is_not_tried_again() -> None:
    def gone(before: tuple[int, int], wanted: int) -> str:
        raise NotFound("write", "shelf", "it is gone")

    with pytest.raises(NotFound):
        change_entry(VersionedEntry("shelf", Shelf().read, gone), lambda before: 1, Shelf().pauses.append)


def test_pauses_double_up_to_the_longest_and_are_made_shorter_by_chance() -> None:
    slept: list[float] = []
    for chance in (1.0, 0.5, 0.0):
        jittered(slept.append, lambda chance=chance: chance)(3)  # type: ignore[misc]
    assert slept == [8 * FIRST_PAUSE, 4 * FIRST_PAUSE, 0.0]
    jittered(slept.append, lambda: 1.0)(ATTEMPTS)
    assert slept[-1] == LONGEST_PAUSE
