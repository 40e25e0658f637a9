"""What every store must do: one suite over all adapters of :class:`keyturn.core.stores.Store`.

An adapter's test module writes ``class TestItsName(StoreContract)`` with ``kind`` and the fixtures
``store``, ``foreign`` and ``tampered``, and adds the cases that only its system has.
"""

import json
import secrets
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import ClassVar

import pytest

from keyturn.core.errors import Invalid, KeyturnError, NotFound, UnsupportedOperation
from keyturn.core.fingerprint import fingerprint
from keyturn.core.names import LIMITS
from keyturn.core.sensitive import Sensitive
from keyturn.core.stores import Copy, Lack, Marks, Store

Raw = Callable[[str, str], None]
"""Acts on (remote name, value) through the SDK alone, as somebody who has never heard of Keyturn."""

KEY = Sensitive("the contract's own fingerprint key")


def fresh_value() -> Sensitive:
    """A value that stands in no source line, so that finding it in a message proves a leak."""
    return Sensitive(f"s3cr3t-{secrets.token_hex(16)}")


def marks_for(value: Sensitive, version: int = 1, source: str = "apps/payments/db") -> Marks:
    """The marks that a push of ``value`` as hub version ``version`` leaves."""
    return Marks(source, version, fingerprint(KEY, value))


def put(store: Store, remote: str, value: Sensitive, version: int = 1) -> Copy:
    """Write as the flows do: find, then write with what was found."""
    return store.write(remote, value, marks_for(value, version), store.find(remote))


def eventually(holds: Callable[[], bool], seconds: float) -> bool:
    """Whether ``holds`` comes true within ``seconds``; asked once when that is 0."""
    end = time.monotonic() + seconds
    while not (held := holds()) and time.monotonic() < end:
        time.sleep(1)
    return held


def assert_serves(store: Store, remote: str, value: Sensitive) -> None:
    """The value reads back; a store that can't be read says so."""
    if Lack.READ not in store.lacks:
        assert store.read(remote) == value
        return
    with pytest.raises(UnsupportedOperation):
        store.read(remote)


def assert_gone(store: Store, remote: str) -> None:
    """Nothing is served under the name any more."""
    found = store.find(remote)
    assert found is None or not found.intact
    with pytest.raises(UnsupportedOperation if Lack.READ in store.lacks else NotFound):
        store.read(remote)


def assert_silent(error: KeyturnError, value: Sensitive, store: Store, remote: str) -> None:
    """The error names store and secret, and neither it nor its chain holds the value."""
    assert error.name == f"{store.name}:{remote}"
    told = "".join(traceback.format_exception(error)) + repr(error.args)
    assert value.reveal() not in told


class StoreContract:
    """The cases. ``kind`` is the store's key in ``LIMITS``."""

    kind: ClassVar[str]
    page_size: ClassVar[int] = 25
    """Entries in one listing page; the paging case writes a few more."""
    listing_lag: ClassVar[float] = 0
    """Seconds until a write shows in the listing; real clouds list with a delay, emulators don't."""
    illegal: ClassVar[str] = "not a legal name!"
    joint: ClassVar[str] = "-"
    """What joins the parts of a name; legal in every name of this store."""

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

    # find

    def test_what_is_absent_is_found_as_none(self, store: Store, remote: str) -> None:
        assert store.find(remote) is None

    def test_a_created_secret_is_found_with_its_marks_and_intact(self, store: Store, remote: str) -> None:
        value = fresh_value()
        written = put(store, remote, value)
        assert written == store.find(remote)
        assert written == Copy(remote, written.version_id, marks_for(value), intact=True)
        assert written.version_id

    def test_marks_that_tell_a_shape_are_found_and_listed_again(self, store: Store, remote: str) -> None:
        value = fresh_value()
        marks = replace(marks_for(value), shape="0a1b2c3d")
        written = store.write(remote, value, marks, None)
        assert written.marks == marks
        assert store.find(remote) == written
        listed = lambda: [copy.marks for copy in store.managed() if copy.name == remote]  # noqa: E731
        assert eventually(lambda: listed() == [marks], self.listing_lag), listed()

    def test_a_secret_without_marks_is_found_as_nobodys(self, store: Store, remote: str, foreign: Raw) -> None:
        foreign(remote, fresh_value().reveal())
        found = store.find(remote)
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
        assert store.find(remote) == second
        assert_serves(store, remote, value)

    def test_the_same_value_and_marks_again_add_no_version(self, store: Store, remote: str) -> None:
        value = fresh_value()
        first = put(store, remote, value)
        assert put(store, remote, value) == first
        assert store.find(remote) == first

    def test_the_same_value_as_a_newer_hub_version_takes_the_newer_marks(self, store: Store, remote: str) -> None:
        value = fresh_value()
        put(store, remote, value)
        again = put(store, remote, value, version=2)
        assert again.marks == marks_for(value, 2)
        assert store.find(remote) == again
        assert again.intact
        assert_serves(store, remote, value)

    def test_an_old_value_comes_back_under_a_newer_version(self, store: Store, remote: str) -> None:
        old = fresh_value()
        put(store, remote, old)
        put(store, remote, fresh_value(), version=2)
        back = put(store, remote, old, version=3)
        assert_serves(store, remote, old)
        assert store.find(remote) == back
        assert back.intact

    def test_an_adopted_secret_gets_the_value_and_the_marks(self, store: Store, remote: str, foreign: Raw) -> None:
        foreign(remote, fresh_value().reveal())
        value = fresh_value()
        put(store, remote, value)
        found = store.find(remote)
        assert found is not None
        assert found.marks == marks_for(value)
        assert found.intact
        assert_serves(store, remote, value)

    def test_tampering_shows_without_reading_and_a_write_mends_it(
        self, store: Store, remote: str, tampered: Raw
    ) -> None:
        value = fresh_value()
        put(store, remote, value)
        tampered(remote, fresh_value().reveal())
        found = store.find(remote)
        assert found is not None
        assert found.marks is None or not found.intact
        assert put(store, remote, value).intact
        mended = store.find(remote)
        assert mended is not None
        assert mended.intact
        assert mended.marks == marks_for(value)
        assert_serves(store, remote, value)

    def test_reading_what_is_absent_is_not_found(self, store: Store, remote: str) -> None:
        with pytest.raises(UnsupportedOperation if Lack.READ in store.lacks else NotFound) as caught:
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
        value = Sensitive(secrets.token_hex(LIMITS[self.kind].max_bytes // 2))
        put(store, remote, value)
        assert_serves(store, remote, value)

    # refusals

    def test_an_illegal_name_is_invalid(self, store: Store) -> None:
        value = fresh_value()
        with pytest.raises(Invalid) as caught:
            store.write(self.illegal, value, marks_for(value), None)
        assert_silent(caught.value, value, store, self.illegal)

    def test_a_value_over_the_limit_is_invalid_and_nothing_is_written(self, store: Store, remote: str) -> None:
        value = Sensitive("é" * (LIMITS[self.kind].max_bytes // 2 + 1))
        with pytest.raises(Invalid) as caught:
            store.write(remote, value, marks_for(value), None)
        assert_silent(caught.value, value, store, remote)
        assert store.find(remote) is None

    def test_an_empty_value_is_invalid_and_the_old_one_stays(self, store: Store, remote: str) -> None:
        value, empty = fresh_value(), Sensitive("")
        written = put(store, remote, value)
        with pytest.raises(Invalid):
            store.write(remote, empty, marks_for(empty, 2), written)
        assert store.find(remote) == written
        assert_serves(store, remote, value)

    # managed

    def test_managed_lists_what_is_ours_across_pages_and_nothing_else(
        self, store: Store, remote: str, foreign: Raw
    ) -> None:
        value = fresh_value()
        names = [f"{remote}{self.joint}{number}" for number in range(self.page_size + 5)]
        foreign(f"{remote}{self.joint}theirs", fresh_value().reveal())
        with ThreadPoolExecutor(8) as pool:
            written = list(pool.map(lambda name: put(store, name, value), names))

        def listed() -> list[Copy]:
            return sorted((copy for copy in store.managed() if copy.name.startswith(remote)), key=lambda c: c.name)

        expected = sorted(written, key=lambda copy: copy.name)
        assert eventually(lambda: listed() == expected, self.listing_lag), listed()

    def test_everything_lists_what_is_ours_and_what_is_not(self, store: Store, remote: str, foreign: Raw) -> None:
        written = put(store, f"{remote}{self.joint}ours", fresh_value())
        foreign(f"{remote}{self.joint}theirs", fresh_value().reveal())

        def listed() -> dict[str, Marks | None]:
            return {copy.name: copy.marks for copy in store.everything() if copy.name.startswith(remote)}

        expected = {f"{remote}{self.joint}ours": written.marks, f"{remote}{self.joint}theirs": None}
        assert eventually(lambda: listed() == expected, self.listing_lag), listed()

    def test_many_are_read_at_once_and_what_is_absent_is_left_out(self, store: Store, remote: str) -> None:
        values = {f"{remote}{self.joint}{number}": fresh_value() for number in range(self.page_size + 3)}
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: put(store, name, values[name]), values))
        asked = [*values, f"{remote}{self.joint}absent"]
        if Lack.READ in store.lacks:
            with pytest.raises(UnsupportedOperation):
                store.read_many(asked)
        else:
            assert store.read_many(asked) == values

    def test_managed_shows_tampering(self, store: Store, remote: str, tampered: Raw) -> None:
        if Lack.LISTED_CHANGES in store.lacks:
            pytest.skip("its listing shows no changes, as it says itself")
        put(store, remote, fresh_value())
        tampered(remote, fresh_value().reveal())

        def listed_as_ours_and_intact() -> bool:
            return any(copy.name == remote and copy.intact for copy in store.managed())

        assert eventually(lambda: not listed_as_ours_and_intact(), self.listing_lag)

    # delete

    def test_deleting_what_is_absent_is_quiet(self, store: Store, remote: str) -> None:
        store.delete(remote)

    def test_a_deleted_secret_is_served_no_more_and_deleting_again_is_quiet(self, store: Store, remote: str) -> None:
        put(store, remote, fresh_value())
        store.delete(remote)
        store.delete(remote)
        assert_gone(store, remote)
        assert not any(copy.name == remote and copy.intact for copy in store.managed())

    def test_a_deleted_secret_is_not_listed_among_everything(self, store: Store, remote: str) -> None:
        put(store, remote, fresh_value())
        store.delete(remote)
        assert eventually(lambda: all(copy.name != remote for copy in store.everything()), self.listing_lag)

    def test_a_deleted_secret_can_be_written_again(self, store: Store, remote: str) -> None:
        put(store, remote, fresh_value())
        store.delete(remote)
        value = fresh_value()
        put(store, remote, value, version=2)
        found = store.find(remote)
        assert found is not None
        assert found.intact
        assert found.marks == marks_for(value, 2)
        assert_serves(store, remote, value)

    def test_a_deleted_secret_can_be_written_again_under_the_same_marks(self, store: Store, remote: str) -> None:
        value = fresh_value()
        put(store, remote, value)
        store.delete(remote)
        put(store, remote, value)
        found = store.find(remote)
        assert found is not None
        assert found.intact
        assert_serves(store, remote, value)

    # threads

    def test_threads_share_one_store(self, store: Store, remote: str) -> None:
        values = {f"{remote}{self.joint}{number}": fresh_value() for number in range(8)}
        together = threading.Barrier(len(values))

        def push(name: str) -> Copy:
            together.wait(30)
            return put(store, name, values[name])

        with ThreadPoolExecutor(len(values)) as pool:
            written = list(pool.map(push, values))
        assert [store.find(name) for name in values] == written
        for name, value in values.items():
            assert_serves(store, name, value)
