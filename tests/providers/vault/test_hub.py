"""The hub's adapter against OpenBao: the contract, logins and errors."""

import base64
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import hvac
import pytest
from pytest_httpserver import HTTPServer

from keyturn.core.errors import Conflict, Denied, Invalid, NotFound, Unavailable
from keyturn.core.ports.hub import Hub, Right
from keyturn.core.sensitive import SecretFields
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import AppRoleLogin, TokenLogin
from local.openbao import OpenBao
from local.prepare import LEDGER_KEY, NOTARY, REVOKER
from local.support.ports import free_port
from tests.contracts.hub import HubContract, Leased, assert_silent, secret_text, verifies
from tests.support.engines import OverPostgreSQL, worker_hub
from tests.support.lab import Lab, fresh
from tests.support.mounts import make_kv
from tests.support.world import TOKEN_VARIABLE, World

pytestmark = pytest.mark.sampled(3, of="file")

KEY, SIGNATURE = base64.b64encode(bytes(32)).decode(), base64.b64encode(bytes(64)).decode()
WORKER_POLICY = """
path "{mount}/*" {{ capabilities = ["create", "read", "update", "patch", "list"] }}
path "{state}/*" {{ capabilities = ["create", "read", "update", "patch", "list"] }}
"""


def hub_as(lab: Lab, token_file: Path, *rules: str, namespace: str | None = None) -> VaultHub:
    """A hub whose login has these rules and no others."""
    root = hvac.Client(url=lab.world.hub_address, token=lab.world.hub_token, namespace=namespace)
    root.sys.create_or_update_policy(token_file.name, "\n".join(rules))
    token_file.write_text(root.auth.token.create(policies=[token_file.name])["auth"]["client_token"])
    return VaultHub(HubSettings(lab.world.hub_address, login=TokenLogin(file=str(token_file)), namespace=namespace))


def new_hub_at(hub: VaultHub) -> VaultHub:
    """The same hub, opened anew: it knows nothing yet."""
    return VaultHub(hub.settings)


class TestVaultHub(HubContract):
    """The contract on the root namespace."""

    @pytest.fixture
    def hub(self, lab: Lab) -> Hub:
        return lab.hub

    @pytest.fixture
    def delete_newest(self, lab: Lab) -> Callable[[str], None]:
        return lambda path: lab.root.secrets.kv.v2.delete_latest_version_of_secret(path, mount_point="secret")

    @pytest.fixture
    def remove_state(self, lab: Lab) -> Callable[[str, str], None]:
        kv = lab.root.secrets.kv.v2
        ways = {
            "delete": lambda path: kv.delete_latest_version_of_secret(path, mount_point="keyturn"),
            "destroy": lambda path: kv.destroy_secret_versions(path, [1], mount_point="keyturn"),
        }
        return lambda path, way: ways[way](path)

    @pytest.fixture
    def delete_after(self, lab: Lab) -> Callable[[str, timedelta], None]:
        def tell(path: str, ttl: timedelta) -> None:
            after = f"{ttl // timedelta(milliseconds=1)}ms"
            lab.root.secrets.kv.v2.update_metadata(path, delete_version_after=after, mount_point="secret")

        return tell

    @pytest.fixture
    def new_hub(self, world: World, lab: Lab) -> Iterator[Callable[[], Hub]]:
        mount = fresh()
        make_kv(lab.root, mount)
        opened: list[VaultHub] = []

        def open_hub() -> Hub:
            opened.append(VaultHub(HubSettings(world.hub_address, state_mount=mount, login=TokenLogin(TOKEN_VARIABLE))))
            return opened[-1]

        yield open_hub
        for hub in opened:
            hub.close()

    @pytest.fixture
    def hub_with(self, lab: Lab, tmp_path: Path) -> Iterator[Callable[[str], Hub]]:
        with ExitStack() as stack:
            yield lambda policy: stack.enter_context(closing(hub_as(lab, tmp_path / fresh(), policy)))

    @pytest.fixture
    def leased(self, lab: Lab, over_postgresql: OverPostgreSQL) -> Callable[[], Leased]:
        role = over_postgresql.dynamic()

        def issue() -> Leased:
            lease = lab.database.issue(role)
            return Leased(lease.lease_id, lambda: lab.logs_in(lease.fields))

        return issue

    @pytest.fixture
    def key(self, lab: Lab) -> str:
        name = fresh()
        lab.root.secrets.transit.create_key(name, key_type="ed25519")
        return name

    @pytest.fixture
    def rotate_key(self, lab: Lab) -> Callable[[str], None]:
        return lambda name: lab.root.secrets.transit.rotate_key(name)

    def test_a_deleted_fingerprint_key_is_not_replaced_by_another(
        self, lab: Lab, new_hub: Callable[[], VaultHub]
    ) -> None:
        hub = new_hub()
        key, mount = hub.fingerprint_keys().current.key, hub.state_mount
        lab.root.secrets.kv.v2.delete_latest_version_of_secret("fingerprint-key", mount_point=mount)
        with pytest.raises(NotFound, match=r"was deleted.*vault kv undelete"):
            new_hub_at(hub).fingerprint_keys()
        lab.root.secrets.kv.v2.undelete_secret_versions("fingerprint-key", [1], mount_point=mount)
        assert new_hub_at(hub).fingerprint_keys().current.key == key

    def test_an_old_candidate_does_not_stay_in_the_state(self, lab: Lab) -> None:
        path, value = f"rotations/{fresh()}", secret_text()
        lab.hub.write_state(path, {"candidate": value}, cas=0)
        lab.hub.write_state(path, {"candidate": None}, cas=1)
        told = lab.root.secrets.kv.v2.read_secret_metadata(path, mount_point="keyturn")["data"]
        assert list(told["versions"]) == ["2"]
        with pytest.raises(hvac.exceptions.InvalidPath):
            lab.root.secrets.kv.v2.read_secret_version(
                path, version=1, mount_point="keyturn", raise_on_deleted_version=True
            )

    def test_the_age_of_state_grows_by_the_hubs_clock(self, lab: Lab) -> None:
        path = f"ages/{fresh()}"
        lab.hub.write_state(path, {}, cas=0)
        time.sleep(1.2)
        state = lab.hub.read_state(path)
        assert state is not None
        assert 0 < state.age < 10


# --- logging in --------------------------------------------------------------------------------------------


class AppRole:
    """A role of its own, whose id and secret id lie in files."""

    def __init__(self, world: World, root: hvac.Client, directory: Path, ttl: str, **role: Any) -> None:
        self.root, self.name = root, fresh()
        root.sys.create_or_update_policy(self.name, WORKER_POLICY.format(mount="secret", state="keyturn"))
        root.auth.approle.create_or_update_approle(self.name, token_policies=[self.name], token_ttl=ttl, **role)
        self.role_id, self.secret_id = directory / "role-id", directory / "secret-id"
        self.role_id.write_text(root.auth.approle.read_role_id(self.name)["data"]["role_id"] + "\n")
        self.new_secret_id()
        self.settings = HubSettings(world.hub_address, login=AppRoleLogin(str(self.role_id), str(self.secret_id)))

    def new_secret_id(self) -> None:
        """As an operator renews it."""
        self.secret_id.write_text(self.root.auth.approle.generate_secret_id(self.name)["data"]["secret_id"])

    def tokens(self) -> list[str]:
        """The accessors of the tokens that live."""
        listed = self.root.auth.token.list_accessors()["data"]["keys"]
        return [accessor for accessor in listed if self.name in self._policies(accessor)]

    def _policies(self, accessor: str) -> list[str]:
        try:
            told = self.root.auth.token.lookup_accessor(accessor)
        except (hvac.exceptions.InvalidPath, hvac.exceptions.InvalidRequest, hvac.exceptions.Forbidden):
            return []
        return list(told["data"]["policies"])


@pytest.fixture
def short(world: World, lab: Lab, tmp_path: Path) -> AppRole:
    """Tokens of two seconds, renewed for as long as one likes."""
    return AppRole(world, lab.root, tmp_path, "2s")


def test_a_login_is_shared_by_threads_and_renewed_before_it_ends(short: AppRole) -> None:
    with closing(VaultHub(short.settings)) as hub:
        end = time.monotonic() + 3

        def read(_: int) -> int:
            reads = 0
            while time.monotonic() < end:
                assert hub.describe("ml-training/database") is not None
                reads += 1
                time.sleep(0.05)
            return reads

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(read, range(4)))
        assert len(short.tokens()) == 1


def test_a_token_that_reached_its_longest_life_is_replaced(world: World, lab: Lab, tmp_path: Path) -> None:
    role = AppRole(world, lab.root, tmp_path, "1s", token_max_ttl="2s")
    with closing(VaultHub(role.settings)) as hub:
        end = time.monotonic() + 3
        while time.monotonic() < end:
            assert hub.describe("ml-training/database") is not None
            time.sleep(0.05)


def test_a_worker_whose_token_was_revoked_logs_in_again(short: AppRole) -> None:
    with closing(VaultHub(short.settings)) as hub:
        hub.describe("ml-training/database")
        (accessor,) = short.tokens()
        short.root.auth.token.revoke_accessor(accessor)
        assert hub.describe("ml-training/database") is not None
        assert short.tokens() != [accessor]


def test_a_worker_that_slept_past_its_tokens_life_logs_in_again(world: World, lab: Lab, tmp_path: Path) -> None:
    with closing(VaultHub(AppRole(world, lab.root, tmp_path, "1s").settings)) as hub:
        hub.describe("ml-training/database")
        time.sleep(1.5)
        assert hub.describe("ml-training/database") is not None


def test_a_wrong_secret_id_is_denied_and_the_hint_says_what_to_do(short: AppRole) -> None:
    wrong = secret_text()
    short.secret_id.write_text(wrong)
    with closing(VaultHub(short.settings)) as hub:
        with pytest.raises(Denied, match="new secret id") as caught:
            hub.read("ml-training/database")
        assert_silent(caught.value, wrong, short.role_id.read_text().strip())
        short.new_secret_id()
        assert hub.read("ml-training/database") is not None


def test_an_absent_login_file_is_named(short: AppRole) -> None:
    short.secret_id.unlink()
    with closing(VaultHub(short.settings)) as hub, pytest.raises(NotFound, match="secret-id"):
        hub.read("ml-training/database")


def test_a_wrong_token_is_denied(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = secret_text()
    monkeypatch.setenv("WRONG_TOKEN", wrong)
    hub = VaultHub(HubSettings(world.hub_address, login=TokenLogin("WRONG_TOKEN")))
    with closing(hub), pytest.raises(Denied) as caught:
        hub.read("ml-training/database")
    assert_silent(caught.value, wrong)


def test_no_login_at_all_is_denied_and_the_hint_names_the_variables(world: World) -> None:
    hub = VaultHub(HubSettings(world.hub_address, login=TokenLogin("NO_SUCH_VARIABLE")))
    with closing(hub), pytest.raises(Denied, match="NO_SUCH_VARIABLE, or KEYTURN_HUB_ROLE_ID_FILE"):
        hub.read("ml-training/database")


def test_a_token_is_read_from_a_file(world: World, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{world.hub_token}\n")
    with closing(VaultHub(HubSettings(world.hub_address, login=TokenLogin(file=str(tmp_path / "token"))))) as hub:
        assert hub.read("ml-training/database") is not None


def test_a_token_that_was_replaced_in_its_file_is_read_again(world: World, lab: Lab, tmp_path: Path) -> None:
    tokens = [lab.root.auth.token.create(policies=["root"])["auth"]["client_token"] for _ in range(2)]
    (tmp_path / "token").write_text(tokens[0])
    with closing(VaultHub(HubSettings(world.hub_address, login=TokenLogin(file=str(tmp_path / "token"))))) as hub:
        assert hub.read("ml-training/database") is not None
        lab.root.auth.token.revoke(tokens[0])
        with pytest.raises(Denied):
            hub.read("ml-training/database")
        (tmp_path / "token").write_text(tokens[1])
        assert hub.read("ml-training/database") is not None


def test_what_a_persons_login_left_in_their_home_is_the_last_that_is_tried(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".vault-token").write_text(world.hub_token)
    (tmp_path / ".vault-token").chmod(0o600)
    settings = HubSettings.from_environment({"VAULT_ADDR": world.hub_address, "HOME": str(tmp_path)})
    monkeypatch.delenv("VAULT_TOKEN", raising=False)
    with closing(VaultHub(settings)) as hub:
        assert hub.read("ml-training/database") is not None
    monkeypatch.setenv("VAULT_TOKEN", secret_text())
    with closing(VaultHub(settings)) as hub, pytest.raises(Denied):
        hub.read("ml-training/database")


def test_a_token_that_lives_is_used_to_its_end_where_no_new_one_can_be_had(
    world: World, lab: Lab, tmp_path: Path
) -> None:
    role = AppRole(world, lab.root, tmp_path, "1h")
    with closing(VaultHub(role.settings)) as hub:
        session = hub._calls._session
        hub.describe("ml-training/database")
        role.secret_id.unlink()
        session._replace()
        assert hub.describe("ml-training/database") is not None
        assert session._renew_at < time.monotonic() + 60
        session.life.ends_at = 0.0
        with pytest.raises(NotFound, match="secret-id"):
            session._replace()


def test_the_hub_says_whose_login_it_is(short: AppRole, world: World, lab: Lab) -> None:
    with closing(VaultHub(short.settings)) as hub:
        identity = hub.identity()
        assert identity.entity_id
        assert identity.path == "auth/approle/login"
        assert identity.display_name == "approle"
        assert [identity.accessor] == short.tokens()
        assert hub.identity() == identity
        short.root.auth.token.revoke_accessor(identity.accessor)
        assert hub.identity().entity_id == identity.entity_id, "the same service, whichever its login is"
    assert lab.hub.identity().entity_id == ""


def test_a_login_that_may_not_ask_whose_it_is_is_denied(lab: Lab, tmp_path: Path) -> None:
    token = lab.root.auth.token.create(policies=["none"], no_default_policy=True)["auth"]["client_token"]
    with closing(VaultHub(HubSettings(lab.world.hub_address, login=TokenLogin(TOKEN_VARIABLE)))) as hub:
        hub._calls._session._client = hub._calls._session.as_token(token)
        with pytest.raises(Denied, match="auth/token/lookup-self"):
            hub.identity()


@pytest.mark.parametrize("cause", ["ended", "policies"])
def test_a_token_that_is_denied_at_once_is_told_with_both_causes_and_not_as_a_secrets_rights(
    lab: Lab, tmp_path: Path, cause: str
) -> None:
    made = lab.root.auth.token.create(policies=["none"], no_default_policy=cause == "policies")["auth"]
    if cause == "ended":
        lab.root.auth.token.revoke_accessor(made["accessor"])
    (tmp_path / "token").write_text(made["client_token"])
    login = TokenLogin(file=str(tmp_path / "token"))
    with closing(VaultHub(HubSettings(lab.world.hub_address, login=login))) as hub:
        with pytest.raises(Denied, match="the token has ended, or its policies lack") as caught:
            hub.read("ml-training/database")
        assert "new login" in caught.value.text
        assert "path secret/data" not in caught.value.text


def test_the_environment_names_everything() -> None:
    with pytest.raises(Invalid, match="VAULT_ADDR"):
        HubSettings.from_environment({})
    with pytest.raises(Invalid, match="KEYTURN_HUB_SECRET_ID_FILE is not set"):
        HubSettings.from_environment({"VAULT_ADDR": "https://hub", "KEYTURN_HUB_ROLE_ID_FILE": "/role"})
    settings = HubSettings.from_environment(
        {"VAULT_ADDR": "https://hub", "VAULT_NAMESPACE": "team", "VAULT_CACERT": "/ca", "KEYTURN_HUB_MOUNT": "kv"}
        | {"KEYTURN_HUB_STATE_MOUNT": "state", "KEYTURN_HUB_TOKEN_FILE": "/token", "KEYTURN_HUB_ROLE_ID_FILE": "/role"}
        | {"KEYTURN_HUB_SECRET_ID_FILE": "/secret", "KEYTURN_HUB_LEASE_TOKEN_ROLE": "leases"}
        | {"KEYTURN_HUB_TRANSIT_MOUNT": "keys", "VAULT_CLIENT_CERT": "/cert", "VAULT_CLIENT_KEY": "/key"}
        | {"VAULT_TLS_SERVER_NAME": "hub.internal", "VAULT_SKIP_VERIFY": "false", "VAULT_CAPATH": "/not/asked/for"}
    )
    assert settings == HubSettings(
        "https://hub", mount="kv", state_mount="state", namespace="team", ca_file="/ca",
        login=AppRoleLogin("/role", "/secret"), lease_token_role="leases", transit_mount="keys",
        client_cert_file="/cert", client_key_file="/key", tls_server_name="hub.internal",
    )  # fmt: skip


# --- what emergencies need ---------------------------------------------------------------------------------


NEEDED = (
    Right("update", "secret/destroy/ml-training/database"),
    Right("update", "sys/capabilities-self"),
    Right("list", "sys/leases/lookup/database/creds/"),
    Right("sudo", "sys/leases/lookup/database/creds/"),
    Right("update", "sys/leases/revoke"),
)


def test_the_emergency_workers_policies_allow_all_of_it_beside_what_a_worker_may(
    lab: Lab, tmp_path: Path, over_postgresql: OverPostgreSQL
) -> None:
    path = f"emergency/{fresh()}"
    with worker_hub(lab, tmp_path, role=REVOKER) as hub:
        assert hub.missing_capabilities(NEEDED) == []
        for version in range(2):
            hub.write(path, SecretFields({"n": version}), cas=version)
        hub.destroy(path, [1])
        assert hub.read(path, 1) is None
        lease = lab.database.issue(over_postgresql.dynamic())
        assert hub.leases("database/creds/") == sorted(hub.leases("database/creds/"))
        assert lease.lease_id in hub.leases("database/creds")
        hub.revoke_lease(lease.lease_id)
        assert not lab.logs_in(lease.fields)


def test_a_notarys_own_policy_signs(lab: Lab, tmp_path: Path) -> None:
    with worker_hub(lab, tmp_path, role=NOTARY) as hub:
        assert verifies(hub.signer(LEDGER_KEY), b"checkpoint")


def test_a_workers_own_policy_neither_signs_nor_destroys(lab: Lab, tmp_path: Path) -> None:
    path = f"emergency/{fresh()}"
    with worker_hub(lab, tmp_path) as hub:
        with pytest.raises(Denied, match=f"transit/sign/{LEDGER_KEY}"):
            hub.signer(LEDGER_KEY).sign(b"checkpoint")
        assert NEEDED[0] in hub.missing_capabilities(NEEDED)
        hub.write(path, SecretFields({"n": 1}), cas=0)
        with pytest.raises(Denied, match=f"secret/destroy/{path}"):
            hub.destroy(path, [1])


def test_a_worker_may_change_custom_metadata_and_nothing_else_about_a_secret(lab: Lab, tmp_path: Path) -> None:
    path = f"emergency/{fresh()}"
    with worker_hub(lab, tmp_path) as hub:
        hub.write(path, SecretFields({"n": 1}), cas=0)
        hub.patch_metadata(path, {"team": "ml"})
        hub.patch_metadata(path, {"team": None, "keyturn-token": "t"})
        before = hub.describe(path)
        assert before
        assert before.custom == {"keyturn-token": "t"}
        for setting in ({"max_versions": 1}, {"delete_version_after": "1s"}, {"cas_required": True}):
            for body in (setting, {**setting, "custom_metadata": {"team": "ml"}}):
                for change in (hub._calls.patch, hub._calls.post):
                    with pytest.raises(Denied, match="the hub denies it"):
                        change("change", path, f"secret/metadata/{path}", body)
        for place in ("metadata", "data"):
            with pytest.raises(Denied, match="the hub denies it"):
                hub._calls.delete("delete", path, f"secret/{place}/{path}")
        assert hub.describe(path) == before
    kept = lab.root.secrets.kv.v2.read_secret_metadata(path, mount_point="secret")["data"]
    assert (kept["max_versions"], kept["delete_version_after"], kept["cas_required"]) == (0, "0s", False)


def test_the_key_of_another_kind_signs_no_ledger(lab: Lab) -> None:
    for settings in ({"key_type": "ecdsa-p256"}, {"key_type": "ed25519", "derived": True}):
        name = fresh()
        lab.root.secrets.transit.create_key(name, **settings)
        with pytest.raises(Invalid, match="Make one of type ed25519 that is not derived") as caught:
            lab.hub.signer(name)
        assert_silent(caught.value)


def test_a_version_that_may_sign_no_more_is_refused(lab: Lab) -> None:
    name = fresh()
    transit = lab.root.secrets.transit
    transit.create_key(name, key_type="ed25519")
    signer = lab.hub.signer(name)
    transit.rotate_key(name)
    transit.update_key_configuration(name, min_encryption_version=2)
    with pytest.raises(Unavailable) as caught:  # the hub tells it as a failure of its own
        signer.sign(b"m")
    assert_silent(caught.value)
    assert verifies(lab.hub.signer(name), b"m")


@pytest.mark.parametrize(
    ("public", "signature"),
    [
        ("AAAA", ""),
        ("no base64!", ""),
        (KEY, "vault:v2:" + SIGNATURE),
        (KEY, "vault:v1:AAAA"),
        (KEY, "v1"),
        (KEY, ""),
    ],
)
def test_an_answer_that_no_transit_engine_gives_is_not_taken(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, public: str, signature: str
) -> None:
    monkeypatch.setenv("ANY_TOKEN", "t")
    httpserver.expect_request("/v1/auth/token/lookup-self").respond_with_json({"data": {"ttl": 0, "renewable": False}})
    told = {"type": "ed25519", "latest_version": 1, "keys": {"1": {"public_key": public}}}
    httpserver.expect_request("/v1/keys/keys/ledger").respond_with_json({"data": told})
    httpserver.expect_request("/v1/keys/sign/ledger").respond_with_json({"data": {"signature": signature}})
    settings = HubSettings(httpserver.url_for("").rstrip("/"), login=TokenLogin("ANY_TOKEN"), transit_mount="keys")
    with closing(VaultHub(settings)) as hub:
        with pytest.raises(Unavailable, match="not what its transit engine gives") as caught:
            hub.signer("ledger").sign(b"m")
        assert_silent(caught.value)


def test_rights_are_those_in_the_namespace_of_the_login(lab: Lab, tmp_path: Path) -> None:
    namespace = f"ns-{fresh()}"
    lab.root.adapter.request("post", f"/v1/sys/namespaces/{namespace}")
    rules = 'path "secret/destroy/*" { capabilities = ["update"] }'
    with closing(hub_as(lab, tmp_path / fresh(), rules, namespace=namespace)) as hub:
        assert hub.missing_capabilities(NEEDED[:1]) == []
        assert hub.missing_capabilities(NEEDED[2:3]) == [NEEDED[2]]


def test_a_login_that_may_not_even_ask_is_denied(lab: Lab, tmp_path: Path) -> None:
    lab.root.sys.create_or_update_policy(policy := fresh(), 'path "secret/*" { capabilities = ["read"] }')
    told = lab.root.auth.token.create(policies=[policy], no_default_policy=True)
    (tmp_path / "token").write_text(told["auth"]["client_token"])
    with closing(VaultHub(HubSettings(lab.world.hub_address, login=TokenLogin(file=str(tmp_path / "token"))))) as hub:
        with pytest.raises(Denied) as caught:
            hub.missing_capabilities(NEEDED)
        assert_silent(caught.value)


def test_a_lease_whose_account_can_not_be_ended_now_is_not_ended(lab: Lab, over_postgresql: OverPostgreSQL) -> None:
    role = over_postgresql.dynamic()
    lease = lab.database.issue(role)
    username = lease.fields["username"].reveal()
    lab.sql(f'CREATE TABLE "{username}-owns" (n int)')
    lab.sql(f'ALTER TABLE "{username}-owns" OWNER TO "{username}"')
    with pytest.raises(Unavailable, match="could not end what it gave") as caught:
        lab.hub.revoke_lease(lease.lease_id)
    assert_silent(caught.value, lease.fields["password"].reveal())
    lab.sql(f'DROP TABLE "{username}-owns"')
    lab.hub.revoke_lease(lease.lease_id)
    assert not lab.logs_in(lease.fields)


# --- refusals ----------------------------------------------------------------------------------------------


def test_a_path_outside_the_policy_is_denied(short: AppRole, lab: Lab) -> None:
    lab.root.sys.create_or_update_policy(short.name, 'path "secret/data/mine/*" { capabilities = ["read"] }')
    value = secret_text()
    with closing(VaultHub(short.settings)) as hub:
        with pytest.raises(Denied, match="keyturn setup hub --apply") as caught:
            hub.write("theirs/database", SecretFields({"password": value}), cas=0)
        assert_silent(caught.value, value)
        for refused in (hub.read, hub.describe, hub.read_state):
            with pytest.raises(Denied):
                refused("theirs/database")


def test_a_mount_that_is_not_there_is_no_absent_secret_when_written(world: World) -> None:
    settings = HubSettings(world.hub_address, mount="nowhere", login=TokenLogin(TOKEN_VARIABLE))
    with closing(VaultHub(settings)) as hub, pytest.raises(NotFound, match="mount") as caught:
        hub.write("some/secret", SecretFields({"password": "x"}), cas=0)
    assert_silent(caught.value)
    assert "the hub has no mount nowhere" in caught.value.problem
    assert "correct KEYTURN_HUB_MOUNT" in caught.value.hint


def test_a_hub_that_is_not_set_up_yet_names_the_command_that_does(world: World) -> None:
    settings = HubSettings(world.hub_address, state_mount="nowhere", login=TokenLogin(TOKEN_VARIABLE))
    remedy = "the hub has no mount nowhere. Run `keyturn setup hub --apply`.*KEYTURN_HUB_STATE_MOUNT"
    with closing(VaultHub(settings)) as hub:
        for ask in (hub.fingerprint_keys, lambda: hub.write_state("rotations/a", {"a": 1}, cas=0)):
            with pytest.raises(NotFound, match=remedy):
                ask()


def test_a_request_that_the_hub_calls_malformed_is_invalid(world: World) -> None:
    value = secret_text()
    with closing(world.hub()) as hub, pytest.raises(Invalid) as caught:
        hub.patch_metadata("ml-training/database", {"key": value * 100})
    assert_silent(caught.value, value)


def test_a_wrong_address_is_unavailable() -> None:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(TOKEN_VARIABLE, "any")
        hub = VaultHub(HubSettings(f"http://127.0.0.1:{free_port()}", login=TokenLogin(TOKEN_VARIABLE)))
        with closing(hub), pytest.raises(Unavailable, match="VAULT_ADDR") as caught:
            hub.read("ml-training/database")
    assert_silent(caught.value)


@pytest.mark.attack
def test_a_missing_login_is_not_reported_as_a_missing_secret(
    httpserver: HTTPServer, world: World, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(world.hub_token)
    login = TokenLogin(file=str(tmp_path / "token"))
    httpserver.expect_request("/v1/auth/token/lookup-self").respond_with_json({"errors": []}, status=404)
    nowhere = HubSettings(httpserver.url_for("").rstrip("/"), login=login)
    for settings in (nowhere, HubSettings(world.hub_address, login=login, namespace="nowhere")):
        with closing(VaultHub(settings)) as hub:
            for ask in (lambda: hub.read("a"), lambda: hub.read_state("a"), lambda: hub.setup().look("sys/mounts")):
                with pytest.raises((Denied, Unavailable)):
                    ask()


def test_a_hub_that_speaks_no_tls_is_not_trusted_as_one_that_does(world: World) -> None:
    hub = VaultHub(HubSettings(world.hub_in_clear.replace("http:", "https:"), login=TokenLogin(TOKEN_VARIABLE)))
    with closing(hub), pytest.raises(Denied, match="the hub speaks no TLS at that port"):
        hub.read("ml-training/database")


@pytest.mark.attack
def test_a_connection_cut_during_its_handshake_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "any")
    with socket.create_server(("127.0.0.1", 0)) as balancer:
        threading.Thread(target=hang_up, args=(balancer,), daemon=True).start()
        address = f"https://127.0.0.1:{balancer.getsockname()[1]}"
        hub = VaultHub(HubSettings(address, login=TokenLogin(TOKEN_VARIABLE)))
        with closing(hub), pytest.raises(Unavailable, match="the hub does not answer: the TLS handshake failed"):
            hub.read("ml-training/database")


def hang_up(balancer: socket.socket) -> None:
    """Hear each client's first words, and end the connection as one does that has nothing more to say."""
    with suppress(OSError):
        while True:
            client, _ = balancer.accept()
            with client:
                client.recv(65_536)
                client.shutdown(socket.SHUT_WR)


def test_a_sealed_hub_is_unavailable_for_every_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with OpenBao(tmp_path / "bao", free_port(), dev=True) as server:
        monkeypatch.setenv("SEALED_TOKEN", server.root_token)
        with closing(VaultHub(HubSettings(server.address, login=TokenLogin("SEALED_TOKEN")))) as hub:
            hub.write("some/secret", SecretFields({"n": 1}), cas=0)
            hvac.Client(url=server.address, token=server.root_token).sys.seal()
            value = secret_text()
            with pytest.raises(Unavailable, match="sealed") as caught:
                hub.write("some/secret", SecretFields({"n": value}), cas=1)
            assert_silent(caught.value, value)
            for call in (hub.read, hub.describe, hub.read_state):
                with pytest.raises(Unavailable):
                    call("some/secret")
        server.stop()
        with (
            closing(VaultHub(HubSettings(server.address, login=TokenLogin("SEALED_TOKEN")))) as hub,
            pytest.raises(Unavailable, match="VAULT_ADDR"),
        ):
            hub.read("some/secret")


# --- namespaces --------------------------------------------------------------------------------------------


def test_everything_happens_inside_the_namespace(world: World, lab: Lab) -> None:
    namespace = fresh()
    lab.root.sys.create_namespace(namespace)
    inside = hvac.Client(url=world.hub_address, token=world.hub_token, namespace=namespace)
    for mount in ("secret", "keyturn"):
        make_kv(inside, mount)
    path = f"ns/{secrets.token_hex(4)}"
    settings = HubSettings(world.hub_address, namespace=namespace, login=TokenLogin(TOKEN_VARIABLE))
    with closing(VaultHub(settings)) as hub:
        hub.write(path, SecretFields({"n": 1}), cas=0)
        hub.write_state(path, {"n": 2}, cas=0)
        hub.patch_metadata(path, {"team": "inside"})
        assert inside.secrets.kv.v2.read_secret_version(path, raise_on_deleted_version=True)["data"]["data"] == {"n": 1}
        assert list(hub.list_state("ns")) == [path]
        with pytest.raises(Conflict):
            hub.write(path, SecretFields({"n": 3}), cas=0)
        assert hub.fingerprint_keys().current.key != lab.hub.fingerprint_keys().current.key
    assert lab.hub.read(path) is None
    assert lab.hub.read_state(path) is None


def test_a_login_that_may_read_nothing_is_told_the_time(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    token = lab.root.auth.token.create(policies=["default"], ttl="10m")["auth"]["client_token"]
    monkeypatch.setenv("POOR_TOKEN", token)
    settings = HubSettings(lab.world.hub_address, ca_file=lab.world.hub_ca, login=TokenLogin("POOR_TOKEN"))
    with closing(VaultHub(settings)) as hub:
        assert abs(hub.now() - lab.hub.now()) < timedelta(minutes=5)
