"""What every ``BackupPlace`` does: nothing is written over, and everything is listed."""

import secrets
from datetime import UTC, datetime, timedelta

import pytest

from keyturn.core.errors import Conflict, Locked, NotFound
from keyturn.core.ports.backups import BackupPlace

CHAIN = "20261128T190501Z-ab12cd34"


class BackupPlaceContract:
    """A subclass gives ``place``, and ``locking`` where the store can lock what is written."""

    @pytest.fixture
    def place(self) -> BackupPlace:
        raise NotImplementedError

    @pytest.fixture
    def locking(self) -> BackupPlace | None:
        """The same store, where what is written is locked for an hour; None where it locks nothing."""
        return None

    def test_what_was_put_is_read_back_and_told_of(self, place: BackupPlace) -> None:
        content = secrets.token_bytes(3_000_000) + b"\r\n--\n"
        place.put(f"{CHAIN}/00000000-0.00000.part", content)
        assert place.get(f"{CHAIN}/00000000-0.00000.part") == content
        stored = place.find(f"{CHAIN}/00000000-0.00000.part")
        assert stored is not None
        assert (stored.name, stored.size) == (f"{CHAIN}/00000000-0.00000.part", len(content))
        assert abs(datetime.now(UTC) - stored.changed_at) < timedelta(minutes=5)

    def test_nothing_is_written_over(self, place: BackupPlace) -> None:
        place.put(f"{CHAIN}/00000000.manifest", b"first")
        with pytest.raises(Conflict, match=r"00000000\.manifest"):
            place.put(f"{CHAIN}/00000000.manifest", b"second")
        assert place.get(f"{CHAIN}/00000000.manifest") == b"first"

    def test_everything_is_listed_in_order_over_all_pages(self, place: BackupPlace) -> None:
        names = [f"{CHAIN}/{number:08d}.manifest" for number in range(8)]
        for name in reversed(names):
            place.put(name, b"content")
        place.put("20251128T190501Z-ab12cd34/00000000.manifest", b"older")
        assert [stored.name for stored in place.listed(f"{CHAIN}/")] == names
        assert [stored.name for stored in place.listed()][1:] == names

    def test_what_is_absent_is_told_and_removing_it_is_success(self, place: BackupPlace) -> None:
        name = f"{CHAIN}/00000000.manifest"
        assert place.find(name) is None
        with pytest.raises(NotFound, match=r"00000000\.manifest"):
            place.get(name)
        place.remove(name)
        place.put(name, b"content")
        place.remove(name)
        assert place.find(name) is None
        assert list(place.listed()) == []
        place.put(name, b"again")

    def test_what_is_locked_stays_and_says_until_when(self, locking: BackupPlace | None) -> None:
        if locking is None:
            return
        name = f"{CHAIN}/00000000.manifest"
        locking.put(name, b"content")
        stored = locking.find(name)
        assert stored is not None
        assert stored.retained_until is not None
        assert timedelta(minutes=50) < stored.retained_until - datetime.now(UTC) < timedelta(minutes=61)
        with pytest.raises(Locked):
            locking.remove(name)
        assert locking.get(name) == b"content"
