"""A second Vault as a store: the contract, with and without detailed listing."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hvac
import pytest

from keyturn.core.errors import Conflict, Denied, Invalid, NotFound, Unavailable, UnsupportedOperation
from keyturn.core.fingerprint import payload
from keyturn.core.ports.stores import Details, OwnershipTags, RemoteSecret
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.store_limits import VAULT
from keyturn.providers.vault.store import VaultStore
from local.openbao import OpenBao
from local.support.ports import free_port
from tests.contracts.merging import MergingCases, Owner
from tests.contracts.store import Raw, StoreContract, assert_silent, fresh_value, marks_for, put
from tests.providers.vault.test_listing import LikeVault
from tests.support.hooks import raising
from tests.support.mounts import make_kv

pytestmark = pytest.mark.sampled(10, of="file")

STORE, REVOKER = "keyturn-vault-store", "keyturn-vault-store-revoker"
POLICIES = Path(__file__).parents[3] / "deployments" / "policies"


@pytest.fixture
def raw(openbao: OpenBao) -> hvac.Client:
    """A client that knows nothing of Keyturn."""
    return hvac.Client(url=openbao.address, token=openbao.root_token)


@pytest.fixture
def mount(raw: hvac.Client) -> Iterator[str]:
    """A KV v2 mount of the test's own."""
    name = f"kv-{secrets.token_hex(4)}"
    make_kv(raw, name)
    yield name
    raw.sys.disable_secrets_engine(name)


def token_with(raw: hvac.Client, mount: str, file: Path, *policies: str) -> Path:
    """A token with the rights of these policies that are shipped, and no others, in ``file``."""
    names = [f"{mount}-{policy}" for policy in policies]
    for name, policy in zip(names, policies, strict=True):
        rules = (POLICIES / f"{policy}.hcl").read_text()
        raw.sys.create_or_update_policy(name, rules.replace("secret/", f"{mount}/"))
    file.write_text(raw.auth.token.create(policies=names)["auth"]["client_token"] + "\n")
    return file


@pytest.fixture
def token_file(raw: hvac.Client, mount: str, tmp_path: Path) -> Path:
    return token_with(raw, mount, tmp_path / "token", STORE, REVOKER)


class VaultContract(StoreContract):
    """What is the same whichever way the server lists."""

    kind = VAULT

    def readings(self, old: Sensitive) -> set[Sensitive]:
        return {old, payload(SecretFields({"value": old.reveal()}))}

    @pytest.fixture
    def foreign(self, raw: hvac.Client, mount: str) -> Raw:
        return lambda name, value: raw.secrets.kv.v2.create_or_update_secret(
            name, {"password": value}, mount_point=mount
        )

    @pytest.fixture
    def tampered(self, foreign: Raw) -> Raw:
        return foreign


class TestVaultStoreWithoutTheDetailedListing(VaultContract):
    @pytest.fixture
    def store(self, openbao: OpenBao, mount: str, token_file: Path) -> Iterator[VaultStore]:
        with (
            LikeVault(f"http://127.0.0.1:{openbao.clear_port}") as server,
            closing(VaultStore("vault", address=server.url, mount=mount, token_file=str(token_file))) as store,
        ):
            yield store


class TestVaultStore(MergingCases, VaultContract):
    """The contract, and what only a KV v2 has."""

    @pytest.fixture
    def store(self, openbao: OpenBao, mount: str, token_file: Path) -> Iterator[VaultStore]:
        with closing(VaultStore("vault", address=openbao.address, mount=mount, token_file=str(token_file))) as store:
            yield store

    @pytest.fixture
    def owner(self, raw: hvac.Client, mount: str) -> Owner:
        def act(name: str, changes: Mapping[str, str | None]) -> None:
            kv = raw.secrets.kv.v2
            try:
                known = kv.read_secret_version(name, mount_point=mount, raise_on_deleted_version=True)["data"]["data"]
            except hvac.exceptions.InvalidPath:
                known = {}
            kept = {key: text for key, text in {**known, **changes}.items() if text is not None}
            kv.create_or_update_secret(name, kept, mount_point=mount)

        return act

    @pytest.fixture
    def fields(self, raw: hvac.Client, mount: str) -> Any:
        """What applications read there."""
        return lambda name: raw.secrets.kv.v2.read_secret_version(
            name, mount_point=mount, raise_on_deleted_version=True
        )["data"]["data"]

    @pytest.fixture
    def metadata(self, raw: hvac.Client, mount: str) -> Any:
        return lambda name: raw.secrets.kv.v2.read_secret_metadata(name, mount_point=mount)["data"]

    def test_an_objects_fields_are_the_secrets_fields(self, store: VaultStore, remote: str, fields: Any) -> None:
        given = {"username": "ann", "password": "p<&>\u2028é", "port": 5432, "rate": 0.25, "tls": True, "no": None}
        put(store, remote, payload(SecretFields(given)))
        assert fields(remote) == given
        assert store.read(remote) == payload(SecretFields(given))

    @pytest.mark.parametrize(
        "text",
        [
            '{"b":1,"a":2}',
            '{"a": 1}',
            '{"a":1.0}',
            '{"a":12345678901234567890}',
            '{"a":[1e+22]}',
            '{"a":1,"a":1}',
            '{"a":NaN}',
            "{}",
            "[1]",
            "17",
            '"text"',
            "plain",
            "[" * 5000,
        ],
    )
    def test_any_other_text_stands_in_one_field_and_reads_back_the_same(
        self, store: VaultStore, remote: str, fields: Any, text: str
    ) -> None:
        put(store, remote, Sensitive(text))
        assert fields(remote) == {"value": text}
        assert store.read(remote) == Sensitive(text)

    def test_an_object_with_that_one_field_is_told_from_a_text(
        self, store: VaultStore, remote: str, fields: Any
    ) -> None:
        for version, text in enumerate(('{"value":"s"}', "s", '{"value":"s"}', '{"value":7}'), 1):
            put(store, remote, Sensitive(text), version)
            assert store.read(remote) == Sensitive(text)
        assert fields(remote) == {"value": 7}

    def test_what_others_keep_in_that_one_field_reads_as_its_text(
        self, store: VaultStore, remote: str, raw: hvac.Client, mount: str
    ) -> None:
        raw.secrets.kv.v2.create_or_update_secret(remote, {"value": "theirs"}, mount_point=mount)
        assert store.read(remote) == Sensitive("theirs")

    def test_a_write_cut_short_before_the_marks_is_finished_without_another_version(
        self, store: VaultStore, remote: str, raw: hvac.Client, mount: str, metadata: Any
    ) -> None:
        put(store, remote, Sensitive('{"a":"1"}'))
        raw.secrets.kv.v2.create_or_update_secret(remote, {"a": "2"}, mount_point=mount)
        cut_short = store.describe(remote)
        assert cut_short is not None
        assert not cut_short.intact
        value = Sensitive('{"a":"2"}')
        assert (
            put(store, remote, value, version=2)
            == store.describe(remote)
            == RemoteSecret(remote, "2", marks_for(value, 2))
        )
        assert metadata(remote)["current_version"] == 2

    def test_a_first_write_cut_short_is_known_as_ours(
        self, store: VaultStore, remote: str, raw: hvac.Client, mount: str, metadata: Any
    ) -> None:
        value = fresh_value()
        marks = marks_for(value)
        raw.secrets.kv.v2.update_metadata(remote, mount_point=mount, custom_metadata=marks.to_tags())
        assert store.describe(remote) == RemoteSecret(remote, "0", marks, intact=False)
        assert list(store.list_all()) == []
        raw.secrets.kv.v2.create_or_update_secret(remote, {"value": value.reveal()}, mount_point=mount)
        assert store.describe(remote) == RemoteSecret(remote, "1", marks, intact=False)
        assert put(store, remote, value) == RemoteSecret(remote, "1", marks)
        assert metadata(remote)["current_version"] == 1

    @pytest.mark.attack
    def test_an_interrupted_write_leaves_a_readable_object(
        self, store: VaultStore, remote: str, raw: hvac.Client, mount: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = Sensitive('{"value":"s"}'), Sensitive('{"value":"t"}')
        with monkeypatch.context() as dying:
            dying.setattr(store, "_mark", raising(Denied("mark", remote, "the hub denies it")))
            with pytest.raises(Denied):
                put(store, remote, first)
        assert store.read(remote) == first
        put(store, remote, first)
        raw.secrets.kv.v2.create_or_update_secret(remote, {"value": "t"}, mount_point=mount)
        assert store.read(remote) == second

    def test_newer_marks_for_the_same_value_add_no_version(self, store: VaultStore, remote: str, metadata: Any) -> None:
        value = fresh_value()
        put(store, remote, value)
        assert put(store, remote, value, version=2) == RemoteSecret(remote, "1", marks_for(value, 2))
        assert metadata(remote)["current_version"] == 1

    def test_creating_over_somebody_elses_secret_is_a_conflict_and_leaves_no_marks(
        self, store: VaultStore, remote: str, foreign: Raw
    ) -> None:
        foreign(remote, fresh_value().reveal())
        value = fresh_value()
        with pytest.raises(Conflict) as caught:
            store.write(remote, value, marks_for(value), None)
        assert_silent(caught.value, value, store, remote)
        assert store.describe(remote) == RemoteSecret(remote, "1", None)

    def test_writing_on_what_has_changed_since_it_was_found_is_a_conflict(
        self, store: VaultStore, remote: str, tampered: Raw
    ) -> None:
        found = put(store, remote, fresh_value())
        tampered(remote, fresh_value().reveal())
        value = fresh_value()
        with pytest.raises(Conflict):
            store.write(remote, value, marks_for(value, 2), found)

    def test_a_newest_version_that_somebody_deleted_or_destroyed_shows_and_is_mended(
        self, store: VaultStore, remote: str, raw: hvac.Client, mount: str
    ) -> None:
        value = fresh_value()
        put(store, remote, value)
        kv = raw.secrets.kv.v2
        kv.delete_latest_version_of_secret(remote, mount_point=mount)
        assert store.describe(remote) == RemoteSecret(remote, "1", marks_for(value), intact=False)
        put(store, remote, value)
        kv.destroy_secret_versions(remote, [2], mount_point=mount)
        assert store.describe(remote) == RemoteSecret(remote, "2", marks_for(value), intact=False)
        with pytest.raises(NotFound):
            store.read(remote)
        assert put(store, remote, value) == RemoteSecret(remote, "3", marks_for(value))
        assert store.read(remote) == value

    def test_what_keyturn_deleted_can_be_recovered_and_is_then_ours_again(
        self, store: VaultStore, remote: str, raw: hvac.Client, mount: str
    ) -> None:
        value = fresh_value()
        put(store, remote, value)
        store.delete(remote)
        raw.secrets.kv.v2.undelete_secret_versions(remote, [1], mount_point=mount)
        assert store.describe(remote) == RemoteSecret(remote, "1", marks_for(value))
        assert store.read(remote) == value

    def test_what_somebody_writes_where_keyturn_deleted_is_theirs(
        self, store: VaultStore, remote: str, foreign: Raw
    ) -> None:
        put(store, remote, fresh_value())
        store.delete(remote)
        foreign(remote, fresh_value().reveal())
        assert store.describe(remote) == RemoteSecret(remote, "2", None)
        assert list(store.list_managed()) == []
        value = fresh_value()
        put(store, remote, value)
        assert store.describe(remote) == RemoteSecret(remote, "3", marks_for(value))

    def test_other_peoples_custom_metadata_stay(
        self, store: VaultStore, remote: str, raw: hvac.Client, mount: str, metadata: Any
    ) -> None:
        put(store, remote, fresh_value())
        both = {**metadata(remote)["custom_metadata"], "team": "payments"}
        raw.secrets.kv.v2.update_metadata(remote, mount_point=mount, custom_metadata=both)
        put(store, remote, fresh_value(), version=2)
        told = metadata(remote)["custom_metadata"]
        assert (told["team"], told["keyturn-source"]) == ("payments", "apps/payments/db@2")

    def test_when_the_value_ends_stands_in_the_custom_metadata_until_one_does_not(
        self, store: VaultStore, remote: str, metadata: Any
    ) -> None:
        value, ends = fresh_value(), datetime(2030, 1, 1, 2, tzinfo=UTC) + timedelta(minutes=5)
        store.write(remote, value, marks_for(value), None, details=Details(expires_at=ends))
        assert metadata(remote)["custom_metadata"]["keyturn-expires-at"] == "2030-01-01T02:05:00+00:00"
        put(store, remote, fresh_value(), version=2)
        assert "keyturn-expires-at" not in metadata(remote)["custom_metadata"]

    def test_tags_and_expiry_change_without_a_version_and_those_of_others_stay(
        self, store: VaultStore, remote: str, raw: hvac.Client, mount: str, metadata: Any
    ) -> None:
        value, ends = fresh_value(), datetime(2100, 1, 1, tzinfo=UTC)
        put(store, remote, value, details=Details({"team": "pay", "cost": "7"}))
        both = {**metadata(remote)["custom_metadata"], "theirs": "1"}
        raw.secrets.kv.v2.update_metadata(remote, mount_point=mount, custom_metadata=both)
        before, second = store.describe(remote), Details({"cost": "8"}, expires_at=ends)
        assert before is not None
        marks = replace(marks_for(value), tags=second.names)
        labelled = store.relabel(remote, marks, second, before)
        shown = Details({"cost": "8", "theirs": "1"}, expires_at=ends)
        assert (
            [labelled] == [store.describe(remote)] == list(store.list_managed()) == [RemoteSecret(remote, "1", marks)]
        )
        assert [copy and copy.details for copy in (labelled, store.describe(remote), *store.list_managed())] == [
            shown
        ] * 3
        store.relabel(remote, marks_for(value), Details(), labelled)
        assert metadata(remote)["custom_metadata"].keys() - marks_for(value).to_tags().keys() == {
            "theirs",
            "keyturn-version",
            "keyturn-expires-at",
        }
        assert store.read(remote) == value

    def test_a_version_that_somebody_else_wrote_stays_theirs_when_the_copy_is_relabelled(
        self, store: VaultStore, remote: str, tampered: Raw
    ) -> None:
        value = fresh_value()
        before = put(store, remote, value)
        tampered(remote, "theirs")
        marks = replace(marks_for(value), tags=("team",))
        store.relabel(remote, marks, Details({"team": "pay"}), before)
        found = store.describe(remote)
        assert found == RemoteSecret(remote, "2", marks, intact=False)
        with pytest.raises(UnsupportedOperation):
            store.relabel(remote, marks, Details({"team": "pay"}), found)

    def test_whoever_writes_while_a_copy_is_relabelled_keeps_the_marks_of_that(
        self, store: VaultStore, remote: str
    ) -> None:
        value, newer = fresh_value(), fresh_value()
        before = put(store, remote, value)
        put(store, remote, newer, 2)
        store.relabel(remote, replace(marks_for(value), tags=("team",)), Details({"team": "pay"}), before)
        found = store.describe(remote)
        assert found == RemoteSecret(remote, "2", replace(marks_for(newer, 2), tags=("team",)))
        assert found.details == Details({"team": "pay"})

    def test_copies_in_folders_are_listed_by_their_whole_path(self, store: VaultStore, remote: str) -> None:
        names = [remote, f"{remote}/a", f"{remote}/b/c", f"{remote}/b/d/e"]
        written = [put(store, name, fresh_value()) for name in names]
        assert sorted(store.list_managed(), key=lambda copy: copy.name) == written

    def test_a_path_that_no_mark_can_hold_and_what_is_no_character_are_refused_before_anything_is_written(
        self, store: VaultStore, remote: str
    ) -> None:
        value = fresh_value()
        with pytest.raises(Invalid, match="custom metadata"):
            store.write(remote, value, OwnershipTags("a" * 600, 1, "0" * 64), None)
        with pytest.raises(Invalid, match="no character") as caught:
            store.write(remote, Sensitive(value.reveal() + "\ud800"), marks_for(value), None)
        assert_silent(caught.value, value, store, remote)
        assert store.describe(remote) is None

    def test_old_versions_are_told_as_they_were_written_where_that_can_be_told(
        self, store: VaultStore, remote: str
    ) -> None:
        several, one = payload(SecretFields({"user": "ann", "port": 5432})), payload(SecretFields({"value": "s"}))
        for version, value in enumerate((several, one, Sensitive("text"), fresh_value()), 1):
            put(store, remote, value, version)
        assert store.old_versions(remote) == {
            "1": several,
            "2": Sensitive("s"),
            "2 as an object": one,
            "3": Sensitive("text"),
            "3 as an object": payload(SecretFields({"value": "text"})),
        }

    def test_a_deleted_version_is_not_past_and_is_destroyed_with_the_others(
        self, store: VaultStore, remote: str, raw: hvac.Client, mount: str, metadata: Any
    ) -> None:
        for version in (1, 2, 3, 4):
            put(store, remote, payload(SecretFields({"n": version})), version)
        raw.secrets.kv.v2.delete_secret_versions(remote, [1], mount_point=mount)
        raw.secrets.kv.v2.destroy_secret_versions(remote, [2], mount_point=mount)
        assert list(store.old_versions(remote)) == ["3"]
        assert store.purge_old_versions(remote) == ()
        destroyed = {number: told["destroyed"] for number, told in metadata(remote)["versions"].items()}
        assert destroyed == {"1": True, "2": True, "3": True, "4": False}

    def test_where_the_newest_is_deleted_the_others_are_past_and_all_are_destroyed(
        self, store: VaultStore, remote: str, metadata: Any
    ) -> None:
        old = payload(SecretFields({"n": 1}))
        put(store, remote, old)
        put(store, remote, fresh_value(), 2)
        store.delete(remote)
        assert store.old_versions(remote) == {"1": old}
        assert store.purge_old_versions(remote) == ()
        assert all(told["destroyed"] for told in metadata(remote)["versions"].values())
        value = fresh_value()
        put(store, remote, value, 3)
        assert store.read(remote) == value

    def test_the_everyday_policy_neither_destroys_nor_erases(
        self, openbao: OpenBao, mount: str, tmp_path: Path, raw: hvac.Client, remote: str
    ) -> None:
        everyday = token_with(raw, mount, tmp_path / "everyday", STORE)
        with closing(VaultStore("vault", address=openbao.address, mount=mount, token_file=str(everyday))) as store:
            old = fresh_value()
            put(store, remote, old)
            put(store, remote, fresh_value(), 2)
            for verb, path in (
                (store.purge_old_versions, f"{mount}/destroy/{remote}"),
                (store.purge, f"{mount}/metadata/{remote}"),
            ):
                with pytest.raises(Denied, match=path) as caught:
                    verb(remote)
                assert_silent(caught.value, old, store, remote)
            assert len(store.old_versions(remote)) == 2

    def test_a_token_without_the_rights_is_denied_with_the_path_that_it_needs(
        self, openbao: OpenBao, mount: str, tmp_path: Path, raw: hvac.Client, remote: str
    ) -> None:
        file = tmp_path / "weak"
        file.write_text(raw.auth.token.create(policies=["default"])["auth"]["client_token"])
        with closing(VaultStore("weak", address=openbao.address, mount=mount, token_file=str(file))) as store:
            value = fresh_value()
            with pytest.raises(Denied, match=f"{mount}/metadata/{remote}") as caught:
                store.write(remote, value, marks_for(value), None)
            assert_silent(caught.value, value, store, remote)
            with pytest.raises(Denied):
                list(store.list_managed())

    def test_a_server_that_is_not_there_and_a_token_that_is_not_there_are_told_of_the_store(
        self, token_file: Path, remote: str
    ) -> None:
        with closing(
            VaultStore("gone", address=f"http://127.0.0.1:{free_port()}", token_file=str(token_file))
        ) as store:
            with pytest.raises(Unavailable, match="this Vault does not answer") as caught:
                store.describe(remote)
            assert caught.value.name == f"gone:{remote}"
            assert "VAULT_ADDR" not in str(caught.value)
        with closing(VaultStore("gone", address="http://127.0.0.1:1", token_file="/no/such/file")) as store:
            with pytest.raises(NotFound, match="/no/such/file") as caught_too:
                store.describe(remote)
            assert caught_too.value.name == f"gone:{remote}"

    def test_an_app_role_logs_in(
        self, openbao: OpenBao, mount: str, token_file: Path, tmp_path: Path, raw: hvac.Client, remote: str
    ) -> None:
        if "approle/" not in raw.sys.list_auth_methods()["data"]:
            raw.sys.enable_auth_method("approle")
        role = raw.auth.approle
        role.create_or_update_approle(mount, token_policies=[f"{mount}-{STORE}"])
        (tmp_path / "role").write_text(role.read_role_id(mount)["data"]["role_id"])
        (tmp_path / "secret").write_text(role.generate_secret_id(mount)["data"]["secret_id"])
        files = {"role_id_file": str(tmp_path / "role"), "secret_id_file": str(tmp_path / "secret")}
        with closing(VaultStore("role", address=openbao.address, mount=mount, **files)) as store:
            value = fresh_value()
            put(store, remote, value)
            assert store.read(remote) == value

    def test_a_namespace_holds_its_own_secrets(
        self, openbao: OpenBao, raw: hvac.Client, tmp_path: Path, remote: str
    ) -> None:
        namespace = f"ns-{secrets.token_hex(4)}"
        raw.adapter.request("post", f"/v1/sys/namespaces/{namespace}")
        inside = hvac.Client(url=openbao.address, token=openbao.root_token, namespace=namespace)
        make_kv(inside, "kv")
        (tmp_path / "token").write_text(openbao.root_token)
        given = {"address": openbao.address, "mount": "kv", "token_file": str(tmp_path / "token")}
        with closing(VaultStore("inside", namespace=namespace, **given)) as store:
            value = fresh_value()
            put(store, remote, value)
            assert [copy.name for copy in store.list_managed()] == [remote]
        assert inside.secrets.kv.v2.read_secret_version(remote, mount_point="kv", raise_on_deleted_version=True)


@pytest.mark.parametrize("policy", [STORE, REVOKER])
def test_the_policies_that_are_shipped_name_no_more_than_one_mount(policy: str) -> None:
    lines = (POLICIES / f"{policy}.hcl").read_text().splitlines()
    paths = [line.split('"')[1] for line in lines if line.startswith("path")]
    assert paths
    assert {path.partition("/")[0] for path in paths} - {"auth", "sys"} == {"secret"}
