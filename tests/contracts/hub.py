"""What every hub must do: one suite over all adapters of :class:`keyturn.core.ports.hub.Hub`.

An adapter's test module writes ``class TestItsName(HubContract)`` with the fixtures that raise
NotImplementedError here, and adds the cases that only its system has.
"""

import secrets
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from keyturn.core.errors import Conflict, Denied, KeyturnError, NotFound
from keyturn.core.ports.hub import ROTATED_AT, Hub, Right, VersionState
from keyturn.core.ports.ledger import Signer
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


@dataclass(frozen=True)
class Leased:
    """A lease that an engine gave, and what tells whether it still opens anything."""

    lease_id: str
    works: Callable[[], bool]


def verifies(signer: Signer, message: bytes, by: Signer | None = None) -> bool:
    """Whether what a key signs is verified with its own public half, or with that of another one."""
    try:
        Ed25519PublicKey.from_public_bytes((by or signer).public_key()).verify(signer.sign(message), message)
    except InvalidSignature:
        return False
    return True


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
    def remove_state(self) -> Callable[[str, str], None]:
        """Deletes or destroys version 1 of an entry of state, as an operator does: ``delete``, ``destroy``."""
        raise NotImplementedError

    @pytest.fixture
    def delete_after(self) -> Callable[[str, timedelta], None]:
        """Has the hub delete what is written to a secret from now on by itself, so long after it was written."""
        raise NotImplementedError

    @pytest.fixture
    def new_hub(self) -> Callable[[], Hub]:
        """Opens adapters onto one hub that has no fingerprint key yet."""
        raise NotImplementedError

    @pytest.fixture
    def hub_with(self) -> Callable[[str], Hub]:
        """Opens an adapter whose login has the rights of a policy in HCL, and no others."""
        raise NotImplementedError

    @pytest.fixture
    def leased(self) -> Callable[[], Leased]:
        """Issues leases."""
        raise NotImplementedError

    @pytest.fixture
    def key(self) -> str:
        """The name of an Ed25519 key of the transit engine that the test may rotate."""
        raise NotImplementedError

    @pytest.fixture
    def rotate_key(self) -> Callable[[str], None]:
        """Gives a key of the transit engine a new version."""
        raise NotImplementedError

    @pytest.fixture
    def path(self) -> str:
        """A path that nobody has used."""
        return f"contract/{secrets.token_hex(6)}"

    # secrets

    def test_the_newest_version_of_every_entry_is_told_by_listings(self, hub: Hub) -> None:
        name = f"newest-{secrets.token_hex(4)}"
        assert not hub.newest_states(name)
        for path, times in ((f"{name}/a", 1), (f"{name}/folder/b", 3)):
            for version in range(times):
                hub.write_state(path, {"value": secret_text()}, cas=version)
        told = hub.newest_states(name)
        if told is None:
            pytest.skip("its listings tell names alone")
        assert {path: one.version for path, one in told.items()} == {"a": 1, "folder/b": 3}
        assert all(one.readable and one.created_at <= datetime.now(UTC) + timedelta(minutes=1) for one in told.values())

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
        assert (info.version, [version.state for version in info.versions]) == (1, [VersionState.DELETED])
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
        hub.patch_metadata(path, {"team": "ml", "stage": "old"})
        hub.patch_metadata(path, {"stage": "new"})
        info = hub.describe(path)
        assert info is not None
        assert dict(info.custom) == {"team": "ml", "stage": "new"}
        assert info.version == 1

    def test_the_annotated_moment_is_when_it_was_rotated(self, hub: Hub, path: str) -> None:
        moment = datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=UTC)
        hub.write(path, SecretFields({"n": 1}), cas=0)
        hub.patch_metadata(path, {ROTATED_AT: moment.isoformat()})
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

    @pytest.mark.parametrize("way", ["delete", "destroy"])
    def test_deleted_state_is_none_and_can_be_written_anew(
        self, hub: Hub, path: str, remove_state: Callable[[str, str], None], way: str
    ) -> None:
        hub.write_state(path, {"n": 1}, cas=0)
        remove_state(path, way)
        assert hub.read_state(path) is None
        assert hub.write_state(path, {"n": 2}, cas=0) == 2
        with pytest.raises(Conflict):
            hub.write_state(path, {"n": 3}, cas=0)
        state = hub.read_state(path)
        assert state is not None
        assert (state.version, state.data) == (2, {"n": 2})

    def test_the_age_of_state_is_young_after_a_write(self, hub: Hub, path: str) -> None:
        hub.write_state(path, {"n": 1}, cas=0)
        state = hub.read_state(path)
        assert state is not None
        assert 0 <= state.age < 5

    def test_the_hub_tells_its_own_time(self, new_hub: Callable[[], Hub]) -> None:
        before = datetime.now(UTC) - timedelta(seconds=2)
        hub = new_hub()
        told = [hub.now()]
        for _ in range(30):
            hub.read_state("nothing")
            hub.fingerprint_keys()
            hub.write_state(f"times/{len(told)}", {}, cas=0)
            told.append(hub.now())
        assert before <= told[0]
        assert told == sorted(told)
        assert told[-1] <= datetime.now(UTC) + timedelta(seconds=1)

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

    # deleted, and given back

    def test_what_was_deleted_is_given_back_with_its_values_and_the_other_versions_stay(
        self, hub: Hub, path: str, delete_newest: Callable[[str], None]
    ) -> None:
        for version in range(3):
            hub.write(path, SecretFields({"n": version}), cas=version)
        hub.destroy(path, [1])
        delete_newest(path)
        hub.undelete(path, [1, 2, 3])
        newest, info = hub.read(path), hub.describe(path)
        assert newest is not None
        assert info is not None
        assert (newest.version, newest.fields.reveal()) == (3, {"n": 2})
        there = VersionState.READABLE
        assert [version.state for version in info.versions] == [VersionState.DESTROYED, there, there]

    def test_what_is_deleted_is_read_no_more_until_it_is_given_back(self, hub: Hub, path: str) -> None:
        for version in range(3):
            hub.write(path, SecretFields({"n": version}), cas=version)
        hub.destroy(path, [1])
        for versions in ([], [1, 2], [2], [7]):
            hub.delete(path, versions)
        info = hub.describe(path)
        assert info is not None
        told = [VersionState.DESTROYED, VersionState.DELETED, VersionState.READABLE]
        assert [version.state for version in info.versions] == told
        assert (hub.read(path, 2), hub.read(path) is None) == (None, False)
        hub.undelete(path, [2])
        assert hub.read(path, 2) is not None

    def test_giving_back_what_is_absent_or_was_not_deleted_is_quiet(self, hub: Hub, path: str) -> None:
        hub.undelete(path, [1, 2])
        assert hub.describe(path) is None
        hub.write(path, SecretFields({"n": 1}), cas=0)
        for versions in ([], [1], [7]):
            hub.undelete(path, versions)
        assert hub.read(path) is not None

    def test_what_deletes_itself_is_readable_until_then_and_deleted_after_it(
        self, hub: Hub, path: str, delete_after: Callable[[str, timedelta], None]
    ) -> None:
        delete_after(path, timedelta(seconds=1))
        hub.write(path, SecretFields({"n": 1}), cas=0)
        delete_after(path, timedelta(hours=1))
        hub.write(path, SecretFields({"n": 2}), cas=1)
        lasting, deadline = [VersionState.DELETED, VersionState.READABLE], time.monotonic() + 10
        while (states := [version.state for version in hub.describe(path).versions]) != lasting:  # type: ignore[union-attr]
            assert (states, time.monotonic() < deadline) == ([VersionState.READABLE] * 2, True)
        assert [hub.read(path, version) is None for version in (1, 2)] == [True, False]
        hub.undelete(path, [1])
        assert hub.read(path, 1) is not None

    def test_who_may_not_give_back_is_denied_and_it_stays_deleted(
        self, hub: Hub, path: str, delete_newest: Callable[[str], None], hub_with: Callable[[str], Hub]
    ) -> None:
        value = secret_text()
        hub.write(path, SecretFields({"n": value}), cas=0)
        delete_newest(path)
        with pytest.raises(Denied, match=f"{hub.mount}/undelete/{path}") as caught:
            hub_with(f'path "{hub.mount}/data/*" {{ capabilities = ["read"] }}').undelete(path, [1])
        assert_silent(caught.value, value)
        assert hub.read(path) is None

    # destroying

    def test_what_is_destroyed_is_read_no_more_and_the_other_versions_stay(self, hub: Hub, path: str) -> None:
        for version in range(4):
            hub.write(path, SecretFields({"n": version}), cas=version)
        hub.destroy(path, [1, 3])
        assert [hub.read(path, version) is None for version in (1, 2, 3, 4)] == [True, False, True, False]
        info = hub.describe(path)
        assert info is not None
        gone, there = VersionState.DESTROYED, VersionState.READABLE
        assert [version.state for version in info.versions] == [gone, there, gone, there]
        assert hub.write(path, SecretFields({"n": 5}), cas=4) == 5

    def test_destroying_the_newest_leaves_nothing_to_read_and_it_still_counts(self, hub: Hub, path: str) -> None:
        hub.write(path, SecretFields({"n": 1}), cas=0)
        hub.destroy(path, [1])
        assert hub.read(path) is None
        assert hub.write(path, SecretFields({"n": 2}), cas=1) == 2

    def test_destroying_what_is_absent_deleted_or_destroyed_is_quiet(
        self, hub: Hub, path: str, delete_newest: Callable[[str], None]
    ) -> None:
        hub.destroy(path, [1, 2])
        assert hub.describe(path) is None
        hub.write(path, SecretFields({"n": 1}), cas=0)
        delete_newest(path)
        for versions in ([], [1], [1], [7]):
            hub.destroy(path, versions)
        info = hub.describe(path)
        assert info is not None
        assert [(version.version, version.state) for version in info.versions] == [(1, VersionState.DESTROYED)]

    def test_who_may_not_destroy_is_denied_and_nothing_is_destroyed(
        self, hub: Hub, path: str, hub_with: Callable[[str], Hub]
    ) -> None:
        value = secret_text()
        hub.write(path, SecretFields({"n": value}), cas=0)
        with pytest.raises(Denied, match=f"{hub.mount}/destroy/{path}") as caught:
            hub_with(f'path "{hub.mount}/data/*" {{ capabilities = ["read"] }}').destroy(path, [1])
        assert_silent(caught.value, value)
        assert hub.read(path) is not None

    # rights

    def test_who_may_do_everything_lacks_nothing(self, hub: Hub) -> None:
        assert (
            hub.missing_capabilities([Right("update", f"{hub.mount}/destroy/a"), Right("sudo", "sys/leases/lookup/")])
            == []
        )
        assert hub.missing_capabilities([]) == []

    def test_what_a_login_lacks_is_told_in_the_order_it_was_asked(self, hub_with: Callable[[str], Hub]) -> None:
        narrow = hub_with(
            """
            path "secret/data/team/*" { capabilities = ["read", "update"] }
            path "secret/data/team/closed" { capabilities = ["deny"] }
            path "sys/leases/lookup/*" { capabilities = ["list", "sudo"] }
            """
        )
        has = [
            Right("read", "secret/data/team/a"),
            Right("update", "secret/data/team/a"),
            Right("list", "sys/leases/lookup/database/creds/"),
            Right("sudo", "sys/leases/lookup/database/creds/"),
        ]
        lacks = [
            Right("update", "secret/destroy/team/a"),
            Right("read", "secret/data/team/closed"),
            Right("delete", "secret/data/team/a"),
            Right("read", "secret/data/other"),
        ]
        mixed = [right for pair in zip(lacks, has, strict=True) for right in pair]
        assert narrow.missing_capabilities(mixed) == lacks
        assert narrow.missing_capabilities(has) == []

    # leases

    def test_below_an_unknown_prefix_there_are_no_leases(self, hub: Hub, path: str) -> None:
        assert hub.leases(path) == []

    def test_leases_are_found_below_every_part_of_their_id_and_end_one_by_one(
        self, hub: Hub, leased: Callable[[], Leased]
    ) -> None:
        first, second = leased(), leased()
        ids = {first.lease_id, second.lease_id}
        prefix = first.lease_id.rpartition("/")[0]
        for part in (prefix, f"{prefix}/", f"/{prefix}", prefix.partition("/")[0]):
            assert ids <= set(hub.leases(part))
        assert set(hub.leases(prefix)) == ids
        hub.revoke_lease(first.lease_id)
        assert hub.leases(prefix) == [second.lease_id]
        assert (first.works(), second.works()) == (False, True)
        hub.revoke_lease(second.lease_id)
        assert hub.leases(prefix) == []

    def test_ending_a_lease_that_has_ended_is_quiet(self, hub: Hub, leased: Callable[[], Leased]) -> None:
        lease = leased()
        for _ in range(2):
            hub.revoke_lease(lease.lease_id)
        assert not lease.works()
        hub.revoke_lease(lease.lease_id[:-4] + "none")

    def test_who_may_not_see_or_end_leases_is_denied(
        self, hub_with: Callable[[str], Hub], leased: Callable[[], Leased]
    ) -> None:
        lease = leased()
        narrow = hub_with('path "secret/data/*" { capabilities = ["read"] }')
        for act in (
            lambda: narrow.leases(lease.lease_id.rpartition("/")[0]),
            lambda: narrow.revoke_lease(lease.lease_id),
        ):
            with pytest.raises(Denied) as caught:
                act()
            assert_silent(caught.value)
        assert lease.works()

    # signing

    def test_what_a_key_signs_is_verified_with_its_public_half_and_no_other_message_is(
        self, hub: Hub, key: str
    ) -> None:
        signer = hub.signer(key)
        assert len(signer.public_key()) == 32
        for message in (b"a", "a note\n— ☃\n".encode(), bytes(range(256)) * 40):
            assert len(signer.sign(message)) == 64
            assert verifies(signer, message)
        with pytest.raises(InvalidSignature):
            Ed25519PublicKey.from_public_bytes(signer.public_key()).verify(signer.sign(b"a"), b"b")

    def test_a_key_that_was_rotated_meanwhile_signs_as_the_version_that_was_asked_for(
        self, hub: Hub, key: str, rotate_key: Callable[[str], None]
    ) -> None:
        before = hub.signer(key)
        rotate_key(key)
        after = hub.signer(key)
        assert before.public_key() != after.public_key()
        assert verifies(before, b"m")
        assert verifies(after, b"m")
        assert not verifies(before, b"m", by=after)

    def test_a_key_that_is_not_there_is_not_found(self, hub: Hub) -> None:
        with pytest.raises(NotFound) as caught:
            hub.signer(f"none-{secrets.token_hex(6)}")
        assert_silent(caught.value)

    def test_who_may_not_sign_is_denied(self, hub: Hub, key: str, hub_with: Callable[[str], Hub]) -> None:
        with pytest.raises(Denied) as caught:
            hub_with('path "secret/data/*" { capabilities = ["read"] }').signer(key)
        assert_silent(caught.value)
        reader = hub_with(f'path "transit/keys/{key}" {{ capabilities = ["read"] }}').signer(key)
        assert reader.public_key() == hub.signer(key).public_key()
        with pytest.raises(Denied) as caught:
            reader.sign(b"m")
        assert_silent(caught.value)

    # fingerprints

    def test_all_workers_of_a_new_hub_get_one_fingerprint_key(self, new_hub: Callable[[], Hub]) -> None:
        hubs = [new_hub() for _ in range(THREADS)]
        together = threading.Barrier(THREADS)

        def ask(hub: Hub) -> str:
            together.wait(10)
            return hub.fingerprint_keys().current.key.reveal()

        with ThreadPoolExecutor(THREADS) as pool:
            keys = set(pool.map(ask, hubs))
        assert len(keys) == 1
        assert keys == {new_hub().fingerprint_keys().current.key.reveal()}
        assert len(keys.pop()) >= 32
