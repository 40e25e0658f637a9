"""What every hub must do: one suite over all adapters of :class:`keyturn.core.hub.Hub`.

An adapter's test module writes ``class TestItsName(HubContract)`` with the fixtures that raise
NotImplementedError here, and adds the cases that only its system has.
"""

import secrets
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from keyturn.core.errors import Conflict, KeyturnError
from keyturn.core.hub import ROTATED_AT, Hub
from keyturn.core.sensitive import SecretFields

THREADS = 8


def secret_text() -> str:
    """A value that stands in no source line, so that finding it in a message proves a leak."""
    return f"s3cr3t-{secrets.token_hex(16)}"


def assert_silent(error: KeyturnError, *values: str) -> None:
    """Neither the error nor anything chained to it holds a value, and it says what to do."""
    told = "".join(traceback.format_exception(error)) + repr(error.args)
    assert not [value for value in values if value in told]
    assert error.__cause__ is None
    assert error.__suppress_context__
    assert error.hint


class HubContract:
    """The cases."""

    @pytest.fixture
    def hub(self) -> Hub:
        """The adapter under test, open."""
        raise NotImplementedError

    @pytest.fixture
    def delete_newest(self) -> Callable[[str], None]:
        """Deletes the newest version of a secret behind the adapter's back, recoverably."""
        raise NotImplementedError

    @pytest.fixture
    def new_hub(self) -> Callable[[], Hub]:
        """Opens adapters onto one hub that has no fingerprint key yet."""
        raise NotImplementedError

    @pytest.fixture
    def path(self) -> str:
        """A path that nobody has used."""
        return f"contract/{secrets.token_hex(6)}"

    # secrets

    def test_what_is_absent_is_read_as_none(self, hub: Hub, path: str) -> None:
        assert hub.read(path) is None
        assert hub.describe(path) is None
        assert hub.read_state(path) is None

    def test_versions_count_from_one_and_each_stays_readable(self, hub: Hub, path: str) -> None:
        assert hub.write(path, SecretFields({"n": "one"}), cas=0) == 1
        assert hub.write(path, SecretFields({"n": "two"}), cas=1) == 2
        newest, first = hub.read(path), hub.read(path, 1)
        assert newest is not None
        assert first is not None
        assert (newest.version, newest.fields.reveal()) == (2, {"n": "two"})
        assert (first.version, first.fields.reveal()) == (1, {"n": "one"})

    def test_values_keep_their_types(self, hub: Hub, path: str) -> None:
        fields = {"port": 5432, "ratio": 0.5, "tls": True, "none": None, "hosts": ["a", {"b": 1}], "text": "pässwörd ☃"}
        hub.write(path, SecretFields(fields), cas=0)
        found = hub.read(path)
        assert found is not None
        assert found.fields.reveal() == fields

    @pytest.mark.parametrize("cas", [0, 1, 3])
    def test_a_write_that_saw_another_version_is_a_conflict_and_changes_nothing(
        self, hub: Hub, path: str, cas: int
    ) -> None:
        for version in range(2):
            hub.write(path, SecretFields({"n": version}), cas=version)
        value = secret_text()
        with pytest.raises(Conflict) as caught:
            hub.write(path, SecretFields({"n": value}), cas=cas)
        assert_silent(caught.value, value)
        found = hub.read(path)
        assert found is not None
        assert (found.version, found.fields.reveal()) == (2, {"n": 1})

    def test_of_many_writers_that_saw_the_same_version_one_wins(self, hub: Hub, path: str) -> None:
        together = threading.Barrier(THREADS)

        def write(number: int) -> bool:
            together.wait(10)
            try:
                hub.write(path, SecretFields({"n": number}), cas=0)
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(THREADS) as pool:
            won = list(pool.map(write, range(THREADS)))
        assert won.count(True) == 1
        found = hub.read(path)
        assert found is not None
        assert found.fields.reveal() == {"n": won.index(True)}

    def test_a_deleted_newest_version_is_absent_and_still_counts(
        self, hub: Hub, path: str, delete_newest: Callable[[str], None]
    ) -> None:
        hub.write(path, SecretFields({"n": 1}), cas=0)
        delete_newest(path)
        assert hub.read(path) is None
        info = hub.describe(path)
        assert info is not None
        assert (info.version, [version.readable for version in info.versions]) == (1, [False])
        with pytest.raises(Conflict):
            hub.write(path, SecretFields({"n": 2}), cas=0)
        assert hub.write(path, SecretFields({"n": 2}), cas=1) == 2

    # metadata

    def test_a_description_dates_every_version(self, hub: Hub, path: str) -> None:
        for version in range(3):
            hub.write(path, SecretFields({"n": version}), cas=version)
        info = hub.describe(path)
        assert info is not None
        assert [version.version for version in info.versions] == [1, 2, 3]
        dates = [version.created_at for version in info.versions]
        assert dates == sorted(dates)
        assert abs(datetime.now(UTC) - dates[-1]) < timedelta(minutes=1)
        assert info.rotated_at == dates[-1]

    def test_annotations_are_laid_over_what_is_there(self, hub: Hub, path: str) -> None:
        hub.write(path, SecretFields({"n": 1}), cas=0)
        hub.annotate(path, {"team": "ml", "stage": "old"})
        hub.annotate(path, {"stage": "new"})
        info = hub.describe(path)
        assert info is not None
        assert dict(info.custom) == {"team": "ml", "stage": "new"}
        assert info.version == 1

    def test_the_annotated_moment_is_when_it_was_rotated(self, hub: Hub, path: str) -> None:
        moment = datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=UTC)
        hub.write(path, SecretFields({"n": 1}), cas=0)
        hub.annotate(path, {ROTATED_AT: moment.isoformat()})
        hub.write(path, SecretFields({"n": 2}), cas=1)
        info = hub.describe(path)
        assert info is not None
        assert info.rotated_at == moment

    # state

    def test_state_is_compare_and_set_too(self, hub: Hub, path: str) -> None:
        assert hub.write_state(path, {"n": 1}, cas=0) == 1
        assert hub.write_state(path, {"n": [2, None]}, cas=1) == 2
        for stale in (0, 1, 3):
            with pytest.raises(Conflict):
                hub.write_state(path, {"n": 3}, cas=stale)
        state = hub.read_state(path)
        assert state is not None
        assert (state.version, state.data) == (2, {"n": [2, None]})

    def test_the_age_of_state_is_young_after_a_write(self, hub: Hub, path: str) -> None:
        hub.write_state(path, {"n": 1}, cas=0)
        state = hub.read_state(path)
        assert state is not None
        assert 0 <= state.age < 5

    def test_state_does_not_show_its_values(self, hub: Hub, path: str) -> None:
        value = secret_text()
        hub.write_state(path, {"n": value}, cas=0)
        assert value not in repr(hub.read_state(path))

    def test_listing_names_every_entry_below_a_prefix(self, hub: Hub, path: str) -> None:
        below = {f"{path}/one", f"{path}/deep/er/two", f"{path}/deep"}
        for name in below:
            hub.write_state(name, {}, cas=0)
        assert set(hub.list_state(path)) == below
        assert list(hub.list_state(f"{path}/nothing")) == []

    # fingerprints

    def test_all_workers_of_a_new_hub_get_one_fingerprint_key(self, new_hub: Callable[[], Hub]) -> None:
        hubs = [new_hub() for _ in range(THREADS)]
        together = threading.Barrier(THREADS)

        def ask(hub: Hub) -> str:
            together.wait(10)
            return hub.fingerprint_key().reveal()

        with ThreadPoolExecutor(THREADS) as pool:
            keys = set(pool.map(ask, hubs))
        assert len(keys) == 1
        assert keys == {new_hub().fingerprint_key().reveal()}
        assert len(keys.pop()) >= 32
