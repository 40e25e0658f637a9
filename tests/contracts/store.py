"""What every store must do: one suite over all adapters of :class:`keyturn.core.ports.stores.Store`.

An adapter's test module writes ``class TestItsName(StoreContract)`` with ``kind`` and the fixtures
``store``, ``foreign`` and ``tampered``, and adds the cases that only its system has.
"""

import json
import secrets
import threading
import time
import traceback
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar

import pytest

from keyturn.catalogue.stores import STORE_KINDS
from keyturn.core.errors import Invalid, KeyturnError, NotFound, Taken, UnsupportedOperation
from keyturn.core.fingerprint import fingerprint
from keyturn.core.ports.merged_keys import sharing
from keyturn.core.ports.stores import (
    NO_DETAILS,
    Creates,
    Detail,
    Details,
    OwnershipTags,
    RemoteSecret,
    Store,
    Unsupported,
    creator,
    describer,
)
from keyturn.core.sensitive import Sensitive
from keyturn.settings.stores import StoreBase

Raw = Callable[[str, str], None]
"""Acts on (remote name, value) through the SDK alone, as somebody who has never heard of Keyturn."""

KEY = Sensitive("the contract's own fingerprint key")


def fresh_value() -> Sensitive:
    """A value that stands in no source line, so that finding it in a message proves a leak."""
    return Sensitive(f"s3cr3t-{secrets.token_hex(16)}")


def marks_for(value: Sensitive, version: int = 1, source: str = "apps/payments/db") -> OwnershipTags:
    """The marks that a push of ``value`` as hub version ``version`` leaves."""
    return OwnershipTags(source, version, fingerprint(KEY, value))


def put(store: Store, remote: str, value: Sensitive, version: int = 1, details: Details = NO_DETAILS) -> RemoteSecret:
    """Write as the flows do: find, then write with what was found."""
    marks = replace(marks_for(value, version), tags=details.names)
    return store.write(remote, value, marks, store.describe(remote), details=details)


def eventually(holds: Callable[[], bool], seconds: float) -> bool:
    """Whether ``holds`` comes true within ``seconds``; asked once when that is 0."""
    end = time.monotonic() + seconds
    while not (held := holds()) and time.monotonic() < end:
        time.sleep(1)
    return held


def assert_serves(store: Store, remote: str, value: Sensitive) -> None:
    """The value reads back; a store that can't be read says so."""
    if Unsupported.READ not in store.unsupported:
        assert store.read(remote) == value
        return
    with pytest.raises(UnsupportedOperation):
        store.read(remote)


def assert_gone(store: Store, remote: str) -> None:
    """Nothing is served under the name any more."""
    found = store.describe(remote)
    assert found is None or not found.intact
    with pytest.raises(UnsupportedOperation if Unsupported.READ in store.unsupported else NotFound):
        store.read(remote)


def assert_silent(error: KeyturnError, value: Sensitive, store: Store, remote: str) -> None:
    """The error names store and secret, and neither it nor its chain holds the value."""
    assert error.name == f"{store.name}:{remote}"
    told = "".join(traceback.format_exception(error)) + repr(error.args)
    assert value.reveal() not in told


EVERYTHING = Details(
    {"team": "payments", "cost-centre": "4711"},
    {"contact": "payments@example.com"},
    "Login of the shop",
    "application/json",
    datetime(2100, 1, 1, 12, 30, tzinfo=UTC),
)
"""Every detail that any store shows beside a copy."""


def only(details: Details, takes: Collection[Detail]) -> Details:
    """Those of the details that a store takes."""
    kept = {"expires_at" if detail is Detail.EXPIRY else str(detail) for detail in takes}
    return replace(NO_DETAILS, **{name: value for name, value in vars(details).items() if name in kept})


def shown(store: Store, copy: RemoteSecret | None) -> RemoteSecret:
    """The copy with what stands beside it, asked for where no look tells it."""
    assert copy is not None
    if copy.details is None and (describing := describer(store)):
        [copy] = describing.with_details([copy])
    return copy


def named(version: str, stays: Collection[str]) -> bool:
    """Whether the words for what stays after forgetting name this version."""
    return any(f"version {version} " in f"{words} " for words in stays)


class StoreContract:
    """The cases. ``kind`` is what the catalogue calls the store, whose ``settings`` it asks for limits."""

    kind: ClassVar[str]

    @property
    def settings(self) -> StoreBase:
        """The settings of a store of this kind, for what they say of every such store."""
        return STORE_KINDS[self.kind].model_construct(kind=self.kind)

    page_size: ClassVar[int] = 25
    """Entries in one listing page; the paging case writes a few more."""
    listing_lag: ClassVar[float] = 0
    """Seconds until a write shows in the listing; real clouds list with a delay, emulators don't."""
    illegal: ClassVar[str] = "not a legal name!"
    joint: ClassVar[str] = "-"
    """What joins the parts of a name; legal in every name of this store."""
    ours: ClassVar[str] = "ours"
    theirs: ClassVar[str] = "theirs"
    """Parts of names; legal in every name of this store."""
    past_versions: ClassVar[int] = 2
    """How many old versions can be read after two updates."""
    hides_past: ClassVar[bool] = False
    """Whether the service keeps earlier values that the store can neither read nor remove; it names them."""
    erase_lag: ClassVar[float] = 0
    """Seconds until an erased secret is gone; real clouds erase in the background, emulators at once."""

    @pytest.fixture
    def store(self) -> Store:
        """The adapter under test, open."""
        raise NotImplementedError

    @pytest.fixture
    def remote(self) -> str:
        """A legal remote name that nobody has used."""
        return f"keyturn-test-{secrets.token_hex(6)}"

    @pytest.fixture
    def foreign(self) -> Raw:
        """Creates a secret without marks."""
        raise NotImplementedError

    @pytest.fixture
    def tampered(self) -> Raw:
        """Gives an existing secret another value behind Keyturn's back."""
        raise NotImplementedError

    def test_its_settings_say_what_it_can(self, store: Store) -> None:
        can = (Unsupported.READ not in store.unsupported, sharing(store) is not None)
        assert can == (self.settings.readable, self.settings.MERGES)

    # describe

    def test_what_is_absent_is_found_as_none(self, store: Store, remote: str) -> None:
        assert store.describe(remote) is None

    def test_a_created_secret_is_found_with_its_marks_and_intact(self, store: Store, remote: str) -> None:
        value = fresh_value()
        written = put(store, remote, value)
        assert written == store.describe(remote)
        assert written == RemoteSecret(remote, written.version_id, marks_for(value), intact=True)
        assert written.version_id

    def test_marks_that_tell_a_shape_are_found_and_listed_again(self, store: Store, remote: str) -> None:
        value = fresh_value()
        marks = replace(marks_for(value), shape="0a1b2c3d")
        written = store.write(remote, value, marks, None)
        assert written.marks == marks
        assert store.describe(remote) == written
        listed = lambda: [copy.marks for copy in store.list_managed() if copy.name == remote]  # noqa: E731
        assert eventually(lambda: listed() == [marks], self.listing_lag), listed()

    @pytest.mark.parametrize("adopted", [False, True])
    def test_marks_that_tell_the_versions_creation_and_the_catalogue_are_found_and_listed_again(
        self, store: Store, remote: str, adopted: bool
    ) -> None:
        value, made = fresh_value(), datetime(2026, 11, 26, 23, 1, 38, 123456, tzinfo=UTC)
        marks = replace(marks_for(value, 7), created_at=made, catalogue="team-a", adopted=adopted, shape="0a1b2c3d")
        written = store.write(remote, value, marks, None)
        assert written.marks == marks
        found = store.describe(remote)
        assert found == written
        assert found.intact
        listed = lambda: [copy.marks for copy in store.list_managed() if copy.name == remote]  # noqa: E731
        assert eventually(lambda: listed() == [marks], self.listing_lag), listed()

    def test_marks_of_an_older_release_are_read_and_the_next_write_tells_more(self, store: Store, remote: str) -> None:
        old, new = fresh_value(), fresh_value()
        before = put(store, remote, old)
        assert before.marks is not None
        assert (before.marks.created_at, before.marks.catalogue) == (None, "")
        made = datetime(2026, 11, 26, 23, 1, 38, tzinfo=UTC)
        marks = replace(marks_for(new, 2), created_at=made, catalogue="team-a")
        assert store.write(remote, new, marks, store.describe(remote)).marks == marks
        found = store.describe(remote)
        assert found is not None
        assert (found.marks, found.intact) == (marks, True)
        assert_serves(store, remote, new)

    def test_another_catalogues_copy_that_is_taken_over_carries_the_new_id(self, store: Store, remote: str) -> None:
        value = fresh_value()
        theirs = replace(marks_for(value), catalogue="team-a")
        store.write(remote, value, theirs, None)
        mine = replace(theirs, catalogue="team-b", adopted=True)
        store.write(remote, value, mine, store.describe(remote))
        found = store.describe(remote)
        assert found is not None
        assert (found.marks, found.intact) == (mine, True)

    def test_a_secret_without_marks_is_found_as_nobodys(self, store: Store, remote: str, foreign: Raw) -> None:
        foreign(remote, fresh_value().reveal())
        found = store.describe(remote)
        assert found is not None
        assert found.marks is None

    # write and read

    def test_a_value_reads_back_as_written(self, store: Store, remote: str) -> None:
        value = fresh_value()
        put(store, remote, value)
        assert_serves(store, remote, value)

    def test_an_update_serves_the_new_value_under_another_version_id(self, store: Store, remote: str) -> None:
        first, value = put(store, remote, fresh_value()), fresh_value()
        second = put(store, remote, value, version=2)
        assert second.version_id != first.version_id
        assert second.marks == marks_for(value, 2)
        assert store.describe(remote) == second
        assert_serves(store, remote, value)

    def test_the_same_value_and_marks_again_add_no_version(self, store: Store, remote: str) -> None:
        value = fresh_value()
        first = put(store, remote, value)
        assert put(store, remote, value) == first
        assert store.describe(remote) == first

    def test_the_same_value_as_a_newer_hub_version_takes_the_newer_marks(self, store: Store, remote: str) -> None:
        value = fresh_value()
        put(store, remote, value)
        again = put(store, remote, value, version=2)
        assert again.marks == marks_for(value, 2)
        assert store.describe(remote) == again
        assert again.intact
        assert_serves(store, remote, value)

    def test_an_old_value_comes_back_under_a_newer_version(self, store: Store, remote: str) -> None:
        old = fresh_value()
        put(store, remote, old)
        put(store, remote, fresh_value(), version=2)
        back = put(store, remote, old, version=3)
        assert_serves(store, remote, old)
        assert store.describe(remote) == back
        assert back.intact

    def test_an_adopted_secret_gets_the_value_and_the_marks(self, store: Store, remote: str, foreign: Raw) -> None:
        foreign(remote, fresh_value().reveal())
        value = fresh_value()
        put(store, remote, value)
        found = store.describe(remote)
        assert found is not None
        assert found.marks == marks_for(value)
        assert found.intact
        assert_serves(store, remote, value)

    def test_tampering_shows_without_reading_and_a_write_mends_it(
        self, store: Store, remote: str, tampered: Raw
    ) -> None:
        if Unsupported.CHANGES in store.unsupported:
            pytest.skip("nothing shows a change there, as it says itself")
        value = fresh_value()
        put(store, remote, value)
        tampered(remote, fresh_value().reveal())
        found = store.describe(remote)
        assert found is not None
        assert found.marks is None or not found.intact
        assert put(store, remote, value).intact
        mended = store.describe(remote)
        assert mended is not None
        assert mended.intact
        assert mended.marks == marks_for(value)
        assert_serves(store, remote, value)

    def test_reading_what_is_absent_is_not_found(self, store: Store, remote: str) -> None:
        with pytest.raises(UnsupportedOperation if Unsupported.READ in store.unsupported else NotFound) as caught:
            store.read(remote)
        assert_silent(caught.value, fresh_value(), store, remote)

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("pässwörd ☃ 秘密 🔑 \u0000\u007f\u2028", id="unicode"),
            pytest.param(" \t leading, trailing and CRLF\r\n\n", id="whitespace"),
            pytest.param(json.dumps({"z": 'q"uo\\te', "a": "é"}, ensure_ascii=False, indent=1), id="json"),
            pytest.param("YWJjZA==", id="base64"),
        ],
    )
    def test_a_text_survives_byte_for_byte(self, store: Store, remote: str, text: str) -> None:
        put(store, remote, Sensitive(text))
        assert_serves(store, remote, Sensitive(text))

    def test_the_largest_legal_value_is_kept_whole(self, store: Store, remote: str) -> None:
        value = Sensitive(secrets.token_hex(self.settings.limits.max_bytes // 2))
        put(store, remote, value)
        assert_serves(store, remote, value)

    # what stands beside a copy

    rewrites: ClassVar[frozenset[Detail]] = frozenset()
    """Which of what the store takes can't change without a new version."""

    @pytest.fixture
    def takes(self) -> frozenset[Detail]:
        """What a store of this kind shows beside a copy."""
        return self.settings.TAKES

    def test_what_a_store_lacks_beside_a_copy_is_refused_by_name(self, takes: frozenset[Detail]) -> None:
        settings = self.settings
        for detail in Detail:
            said = settings.refuses_details(only(EVERYTHING, [detail]))
            assert (said is None) is (detail in takes), said
            assert said is None or said.startswith(f"{self.kind} ")

    def test_what_stands_beside_a_copy_is_found_and_listed(
        self, store: Store, remote: str, takes: frozenset[Detail]
    ) -> None:
        value, asked = fresh_value(), only(EVERYTHING, takes)
        written = put(store, remote, value, details=asked)
        found = shown(store, store.describe(remote))
        assert (found, found.intact) == (written, True)
        assert found.marks == replace(marks_for(value), tags=asked.names)
        assert not asked.differing(found.details or NO_DETAILS)
        listed = lambda: [shown(store, copy) for copy in store.list_managed() if copy.name == remote]  # noqa: E731
        assert eventually(lambda: listed() == [written], self.listing_lag), listed()
        assert not asked.differing(listed()[0].details or NO_DETAILS)
        assert_serves(store, remote, value)

    def test_a_changed_detail_makes_no_new_version(self, store: Store, remote: str, takes: frozenset[Detail]) -> None:
        value, first = fresh_value(), only(EVERYTHING, takes)
        before = put(store, remote, value, details=first)
        other = Details(
            {"team": "billing"}, {"contact": "x"}, "Another", "text/plain", datetime(2101, 1, 1, tzinfo=UTC)
        )
        asked = only(other, takes - self.rewrites)
        for _ in range(2):  # as after a crash
            there = shown(store, store.describe(remote))
            assert there.marks is not None
            marks = replace(there.marks, tags=asked.names)
            if not takes - self.rewrites:
                with pytest.raises(UnsupportedOperation):
                    store.relabel(remote, marks, asked, there)
                return
            store.relabel(remote, marks, asked, there)
        found = shown(store, store.describe(remote))
        assert (found.version_id, found.intact) == (before.version_id, True)
        assert found.marks == replace(marks_for(value), tags=asked.names)
        assert found.details is not None
        assert not asked.differing(found.details)
        assert "cost-centre" not in found.details.tags
        assert self.past(store, remote) == {}
        assert_serves(store, remote, value)

    def test_what_takes_a_new_version_to_change_says_so_first(self, store: Store, remote: str) -> None:
        value = fresh_value()
        put(store, remote, value, details=only(EVERYTHING, self.rewrites))
        before = shown(store, store.describe(remote))
        asked = only(replace(EVERYTHING, description="Another", content_type="text/plain"), self.rewrites)
        assert before.marks is not None
        for detail in self.rewrites:
            with pytest.raises(UnsupportedOperation):
                store.relabel(remote, before.marks, only(asked, [detail]), before)
        assert store.describe(remote) == before

    def test_what_others_have_set_beside_a_copy_stays(
        self, store: Store, remote: str, takes: frozenset[Detail]
    ) -> None:
        theirs = only(Details({"theirs": "t"}, {"their-note": "n"}), takes)
        value = fresh_value()
        store.write(remote, value, marks_for(value), None, details=theirs)  # laid, and not named by the marks
        put(store, remote, value, 2, only(EVERYTHING, takes))
        newer = fresh_value()
        store.write(remote, newer, marks_for(newer, 3), shown(store, store.describe(remote)))
        found = shown(store, store.describe(remote))
        assert found.marks == marks_for(newer, 3)
        if takes:
            assert found.details is not None
            assert (found.details.tags, found.details.annotations) == (theirs.tags, theirs.annotations)
        assert_serves(store, remote, newer)

    # refusals

    def test_an_illegal_name_is_invalid(self, store: Store) -> None:
        value = fresh_value()
        with pytest.raises(Invalid) as caught:
            store.write(self.illegal, value, marks_for(value), None)
        assert_silent(caught.value, value, store, self.illegal)

    def test_a_value_over_the_limit_is_invalid_and_nothing_is_written(self, store: Store, remote: str) -> None:
        value = Sensitive("é" * (self.settings.limits.max_bytes // 2 + 1))
        with pytest.raises(Invalid) as caught:
            store.write(remote, value, marks_for(value), None)
        assert_silent(caught.value, value, store, remote)
        assert store.describe(remote) is None

    def test_an_empty_value_is_invalid_and_the_old_one_stays(self, store: Store, remote: str) -> None:
        value, empty = fresh_value(), Sensitive("")
        written = put(store, remote, value)
        with pytest.raises(Invalid):
            store.write(remote, empty, marks_for(empty, 2), written)
        assert store.describe(remote) == written
        assert_serves(store, remote, value)

    # create

    creates: ClassVar[bool] = False
    """Whether it has :class:`keyturn.core.ports.stores.Creates`."""
    refuses_taken: ClassVar[bool] = True
    """Whether the service itself refuses a name that is taken, so that of two that make it one does."""

    @pytest.fixture
    def creates_in(self, store: Store) -> Creates:
        """The store, where it has what these cases are about."""
        made = creator(store)
        assert (made is not None) is self.creates
        if made is None:
            pytest.skip("it is always looked at before it is written")
        return made

    def test_a_copy_made_without_a_look_is_as_one_made_with_it(
        self, creates_in: Creates, store: Store, remote: str
    ) -> None:
        value = fresh_value()
        made = creates_in.create(remote, value, marks_for(value))
        assert made == RemoteSecret(remote, made.version_id, marks_for(value), intact=True)
        assert made == store.describe(remote)
        assert_serves(store, remote, value)
        assert eventually(lambda: made in list(store.list_managed()), self.listing_lag)
        assert put(store, remote, value) == made

    def test_a_copy_made_without_a_look_has_what_is_to_stand_beside_it(
        self, creates_in: Creates, store: Store, remote: str, takes: frozenset[Detail]
    ) -> None:
        value, asked = fresh_value(), only(EVERYTHING, takes)
        marks = replace(marks_for(value), tags=asked.names)
        assert creates_in.create(remote, value, marks, details=asked).marks == marks
        found = shown(store, store.describe(remote))
        assert (found.marks, found.intact) == (marks, True)
        assert not asked.differing(found.details or NO_DETAILS)

    def test_a_name_that_somebody_else_has_is_taken_and_stays_theirs(
        self, creates_in: Creates, store: Store, remote: str, foreign: Raw
    ) -> None:
        theirs, value = fresh_value(), fresh_value()
        foreign(remote, theirs.reveal())
        left = store.describe(remote)
        with pytest.raises(Taken) as caught:
            creates_in.create(remote, value, marks_for(value))
        assert_silent(caught.value, value, store, remote)
        assert store.describe(remote) == left
        assert_serves(store, remote, theirs)

    @pytest.mark.parametrize("newer", [1, 2])
    def test_a_copy_of_our_own_is_taken_too_or_found_to_be_this_very_one(
        self, creates_in: Creates, store: Store, remote: str, newer: int
    ) -> None:
        first = fresh_value()
        written = put(store, remote, first)
        value = first if newer == 1 else fresh_value()
        with suppress(Taken):
            assert creates_in.create(remote, value, marks_for(value, newer)) == written
        assert store.describe(remote) == written
        assert_serves(store, remote, first)

    def test_the_name_of_a_deleted_secret_is_free_or_taken_and_nothing_in_between(
        self, creates_in: Creates, store: Store, remote: str
    ) -> None:
        put(store, remote, fresh_value())
        store.delete(remote)
        left, value = store.describe(remote), fresh_value()
        if left is None:
            assert creates_in.create(remote, value, marks_for(value, 2)) == store.describe(remote)
            assert_serves(store, remote, value)
        else:
            with pytest.raises(Taken):
                creates_in.create(remote, value, marks_for(value, 2))
            assert store.describe(remote) == left

    @pytest.mark.parametrize("flaw", ["name", "size", "empty"])
    def test_what_breaks_a_limit_is_not_made(self, creates_in: Creates, store: Store, remote: str, flaw: str) -> None:
        name = self.illegal if flaw == "name" else remote
        size = {"name": 10, "size": self.settings.limits.max_bytes + 1, "empty": 0}[flaw]
        value = Sensitive("x" * size)
        with pytest.raises(Invalid) as caught:
            creates_in.create(name, value, marks_for(value))
        assert caught.value.name == f"{store.name}:{name}"
        assert flaw == "name" or store.describe(remote) is None

    def test_of_many_that_make_one_name_together_one_does(self, creates_in: Creates, store: Store, remote: str) -> None:
        values = [fresh_value() for _ in range(6)]
        together = threading.Barrier(len(values))

        def make(value: Sensitive) -> RemoteSecret | None:
            together.wait(30)
            try:
                return creates_in.create(remote, value, marks_for(value))
            except Taken:
                return None

        with ThreadPoolExecutor(len(values)) as pool:
            made = [copy for copy in pool.map(make, values) if copy]
        if self.refuses_taken:
            assert made == [store.describe(remote)]
        else:
            assert store.describe(remote) in made

    # managed

    def test_managed_lists_what_is_ours_across_pages_and_nothing_else(
        self, store: Store, remote: str, foreign: Raw
    ) -> None:
        value = fresh_value()
        names = [f"{remote}{self.joint}{number}" for number in range(self.page_size + 5)]
        foreign(f"{remote}{self.joint}{self.theirs}", fresh_value().reveal())
        with ThreadPoolExecutor(8) as pool:
            written = list(pool.map(lambda name: put(store, name, value), names))

        def listed() -> list[RemoteSecret]:
            return sorted((copy for copy in store.list_managed() if copy.name.startswith(remote)), key=lambda c: c.name)

        expected = sorted(written, key=lambda copy: copy.name)
        assert eventually(lambda: listed() == expected, self.listing_lag), listed()

    def test_everything_lists_what_is_ours_and_what_is_not(self, store: Store, remote: str, foreign: Raw) -> None:
        written = put(store, f"{remote}{self.joint}{self.ours}", fresh_value())
        foreign(f"{remote}{self.joint}{self.theirs}", fresh_value().reveal())

        def listed() -> dict[str, OwnershipTags | None]:
            return {copy.name: copy.marks for copy in store.list_all() if copy.name.startswith(remote)}

        expected = {f"{remote}{self.joint}{self.ours}": written.marks, f"{remote}{self.joint}{self.theirs}": None}
        assert eventually(lambda: listed() == expected, self.listing_lag), listed()

    def test_many_are_read_at_once_and_what_is_absent_is_left_out(self, store: Store, remote: str) -> None:
        values = {f"{remote}{self.joint}{number}": fresh_value() for number in range(self.page_size + 3)}
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: put(store, name, values[name]), values))
        asked = [*values, f"{remote}{self.joint}absent"]
        if Unsupported.READ in store.unsupported:
            with pytest.raises(UnsupportedOperation):
                store.read_many(asked)
        else:
            assert store.read_many(asked) == values

    def test_managed_shows_tampering(self, store: Store, remote: str, tampered: Raw) -> None:
        if {Unsupported.LISTED_CHANGES, Unsupported.CHANGES} & store.unsupported:
            pytest.skip("its listing shows no changes, as it says itself")
        put(store, remote, fresh_value())
        tampered(remote, fresh_value().reveal())

        def listed_as_ours_and_intact() -> bool:
            return any(copy.name == remote and copy.intact for copy in store.list_managed())

        assert eventually(lambda: not listed_as_ours_and_intact(), self.listing_lag)

    # delete

    def test_deleting_what_is_absent_is_quiet(self, store: Store, remote: str) -> None:
        store.delete(remote)

    def test_a_deleted_secret_is_served_no_more_and_deleting_again_is_quiet(self, store: Store, remote: str) -> None:
        put(store, remote, fresh_value())
        store.delete(remote)
        store.delete(remote)
        assert_gone(store, remote)
        assert not any(copy.name == remote and copy.intact for copy in store.list_managed())

    def test_a_deleted_secret_is_not_listed_among_everything(self, store: Store, remote: str) -> None:
        put(store, remote, fresh_value())
        store.delete(remote)
        assert eventually(lambda: all(copy.name != remote for copy in store.list_all()), self.listing_lag)

    def test_a_deleted_secret_can_be_written_again(self, store: Store, remote: str) -> None:
        put(store, remote, fresh_value())
        store.delete(remote)
        value = fresh_value()
        put(store, remote, value, version=2)
        found = store.describe(remote)
        assert found is not None
        assert found.intact
        assert found.marks == marks_for(value, 2)
        assert_serves(store, remote, value)

    def test_a_deleted_secret_can_be_written_again_under_the_same_marks(self, store: Store, remote: str) -> None:
        value = fresh_value()
        put(store, remote, value)
        store.delete(remote)
        put(store, remote, value)
        found = store.describe(remote)
        assert found is not None
        assert found.intact
        assert_serves(store, remote, value)

    # past, forget and erase

    def past(self, store: Store, remote: str) -> dict[str, Sensitive]:
        """The old values; none where the store says that it can't read what the service keeps."""
        with suppress(*[UnsupportedOperation] * self.hides_past):
            return store.old_versions(remote)
        return {}

    def erase(self, store: Store, remote: str) -> None:
        """Erase a secret, of which nothing stays that is not named."""
        stays = store.purge(remote)
        assert stays == () or self.hides_past

    def readings(self, old: Sensitive) -> set[Sensitive]:
        """What the past shows of an old value: every text that its version may stand for, where it can't tell."""
        return {old}

    def test_what_is_absent_has_no_past_and_is_forgotten_and_erased_quietly(self, store: Store, remote: str) -> None:
        assert self.past(store, remote) == {}
        assert store.purge_old_versions(remote) == ()
        self.erase(store, remote)
        assert store.describe(remote) is None

    @pytest.mark.parametrize("verb", ["old_versions", "purge_old_versions", "purge"])
    def test_an_illegal_name_has_no_past_either(self, store: Store, verb: str) -> None:
        with pytest.raises(Invalid) as caught:
            getattr(store, verb)(self.illegal)
        assert_silent(caught.value, fresh_value(), store, self.illegal)

    def test_a_secret_that_was_never_updated_has_no_past(self, store: Store, remote: str) -> None:
        value = fresh_value()
        written = put(store, remote, value)
        assert self.past(store, remote) == {}
        assert store.purge_old_versions(remote) == ()
        assert store.describe(remote) == written
        assert_serves(store, remote, value)

    def test_the_past_is_the_old_values_and_not_the_one_that_is_served(self, store: Store, remote: str) -> None:
        old = [fresh_value(), fresh_value()]
        for version, value in enumerate([*old, fresh_value()], 1):
            put(store, remote, value, version)
        readable = old[len(old) - self.past_versions :]
        assert set(self.past(store, remote).values()) == {text for value in readable for text in self.readings(value)}

    def test_what_is_forgotten_is_gone_or_named_and_what_is_served_stays(self, store: Store, remote: str) -> None:
        values = [fresh_value() for _ in range(3)]
        for version, value in enumerate(values, 1):
            written = put(store, remote, value, version)
        stays = store.purge_old_versions(remote)
        unnamed = [name for name in self.past(store, remote) if not named(name, stays)]
        assert unnamed == []
        assert not [words for words in stays for value in values if value.reveal() in words]
        assert store.describe(remote) == written
        assert written.intact
        assert_serves(store, remote, values[-1])
        assert set(store.purge_old_versions(remote)) == set(stays)

    def test_what_is_written_after_forgetting_has_its_own_past(self, store: Store, remote: str) -> None:
        put(store, remote, fresh_value())
        second, third = fresh_value(), fresh_value()
        put(store, remote, second, 2)
        stays = store.purge_old_versions(remote)
        written = put(store, remote, third, 3)
        assert store.describe(remote) == written
        assert_serves(store, remote, third)
        past = self.past(store, remote)
        fresh = [value for name, value in past.items() if not named(name, stays)]
        assert set(fresh) == (self.readings(second) if self.past_versions else set())

    def test_what_is_erased_is_gone_with_its_past_and_its_name_is_free(self, store: Store, remote: str) -> None:
        for version in (1, 2):
            put(store, remote, fresh_value(), version)
        self.erase(store, remote)
        assert eventually(lambda: store.describe(remote) is None, self.erase_lag)
        assert_gone(store, remote)
        assert self.past(store, remote) == {}
        self.erase(store, remote)
        value = fresh_value()
        written = put(store, remote, value, 3)
        assert store.describe(remote) == written
        assert_serves(store, remote, value)
        assert self.past(store, remote) == {}

    def test_what_was_deleted_before_is_erased_all_the_same(self, store: Store, remote: str) -> None:
        for version in (1, 2):
            put(store, remote, fresh_value(), version)
        store.delete(remote)
        self.erase(store, remote)
        assert eventually(lambda: store.describe(remote) is None, self.erase_lag)
        assert self.past(store, remote) == {}

    def test_a_deleted_secret_has_no_readable_past_that_forgetting_does_not_name(
        self, store: Store, remote: str
    ) -> None:
        for version in (1, 2):
            put(store, remote, fresh_value(), version)
        store.delete(remote)
        stays = store.purge_old_versions(remote)
        assert [name for name in self.past(store, remote) if not named(name, stays)] == []

    # threads

    def test_threads_share_one_store(self, store: Store, remote: str) -> None:
        values = {f"{remote}{self.joint}{number}": fresh_value() for number in range(8)}
        together = threading.Barrier(len(values))

        def push(name: str) -> RemoteSecret:
            together.wait(30)
            return put(store, name, values[name])

        with ThreadPoolExecutor(len(values)) as pool:
            written = list(pool.map(push, values))
        assert [store.describe(name) for name in values] == written
        for name, value in values.items():
            assert_serves(store, name, value)
