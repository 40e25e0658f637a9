"""`keyturn setup hub`: creates what the catalogue declares, is repeatable, and detects changes."""

import secrets
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import hvac
import pytest
from hvac.exceptions import VaultError

from keyturn.catalogue.targets import MysqlSettings, PostgresqlSettings
from keyturn.core.errors import Conflict, Denied, Invalid, Missing, NotFound, Unavailable
from keyturn.core.rights.hub_setup import HubResource, Kind, SetupPort, SetupVerdict
from keyturn.providers.vault.setup import VaultSetup, hubs_words
from keyturn.rights.hub_apply import apply_setup, remove_left_over
from keyturn.rights.hub_plan import plan_setup
from keyturn.rights.hub_record import read_record
from keyturn.rights.scope import SecretPath
from local.mariadb import MariaDB
from local.prepare import DATABASE, OWNER
from tests.hub_setup.site import SCOPE, WORKER, Empty, applied, generated_key, planned, verdicts, wanted
from tests.support.world import World

pytestmark = pytest.mark.sampled(9, of="file")

JWT: dict[str, dict[str, Any]] = {
    "ci": {"kind": "jwt", "public_keys": [generated_key()], "issuer": "https://ci.example.com"},
    "deploy": {
        "kind": "jwt-role",
        "method": "ci",
        "audiences": ["keyturn"],
        "subject": "repo:app",
        "claims": {"ref": "main"},
        "login": "monitor",
    },
}
CLUSTER: dict[str, dict[str, Any]] = {
    "cluster": {"kind": "kubernetes", "host": "https://127.0.0.1:6443", "ca_certificate": generated_key()},
    "pods": {
        "kind": "kubernetes-role",
        "method": "cluster",
        "service_accounts": ["keyturn"],
        "namespaces": ["ops"],
        "audience": "hub",
        "login": "worker",
    },
}


def test_an_empty_hub_gets_everything_and_a_second_run_does_nothing(empty: Empty) -> None:
    everything = wanted({**WORKER, **JWT, **CLUSTER, "certs": {"kind": "engine", "type": "pki"}})
    first = applied(empty.port, everything)
    assert {item.verdict for item in first.items} == {SetupVerdict.CREATE}
    version = read_record(empty.port).version

    assert verdicts(applied(empty.port, everything)) == {}
    assert read_record(empty.port).version == version
    role = empty.read("auth/approle/role/keyturn-worker")
    assert role["token_policies"] == ["keyturn-worker", "keyturn-worker-login"]
    assert role["secret_id_bound_cidrs"] == role["token_bound_cidrs"] == ["127.0.0.0/8"]
    assert empty.read("auth/ci/role/deploy")["bound_claims"] == {"ref": "main"}
    assert empty.read("auth/cluster/role/pods")["token_policies"] == ["keyturn-worker"]


ROLE = "approle:approle/keyturn-worker"
HANDS: tuple[tuple[str, dict[str, Any], str, str, Any, Any], ...] = (
    (
        "auth/approle/role/keyturn-worker",
        {"token_policies": "root"},
        ROLE,
        "token_policies",
        ["root"],
        ["keyturn-worker", "keyturn-worker-login"],
    ),
    ("auth/approle/role/keyturn-worker", {"token_num_uses": 7}, ROLE, "token_num_uses", 7, 0),
    (
        "transit/keys/keyturn-ledger/config",
        {"deletion_allowed": True},
        "transit-key:transit/keyturn-ledger",
        "deletion_allowed",
        True,
        False,
    ),
    ("sys/mounts/secret/tune", {"max_lease_ttl": "1h"}, "mount:secret", "max_lease_ttl", 3600, 0),
    (
        "sys/auth/approle/tune",
        {"user_lockout_config": {"lockout_disable": False}},
        "auth-method:approle",
        "user_lockout_disable",
        False,
        True,
    ),
    ("auth/ci/role/deploy", {"bound_subject": ""}, "jwt-role:ci/deploy", "bound_subject", "", "repo:app"),
)
"""What is changed where, of which thing, which field, and both its values; of one nothing declares the value."""


@pytest.mark.attack
def test_a_manual_change_is_reported_with_both_values_and_reverted(empty: Empty) -> None:
    everything = wanted({**WORKER, **JWT})
    applied(empty.port, everything)
    for address, change, *_ in HANDS:
        body = {**empty.read(address), **change} if address.startswith("auth/ci") else change
        empty.root.write_data(address, data=body)

    drifted = planned(empty.port, everything).of(SetupVerdict.DRIFT)
    differences = {
        (item.resource.key, each.field, str(each.present), str(each.wanted))
        for item in drifted
        for each in item.differences
    }
    assert differences == {(key, field, str(present), str(before)) for _, _, key, field, present, before in HANDS}

    applied(empty.port, everything)
    assert verdicts(planned(empty.port, everything)) == {}


@pytest.mark.attack
def test_refused_secret_ids_lock_no_login_out(empty: Empty) -> None:
    applied(empty.port, wanted(WORKER))
    role_id = empty.read("auth/approle/role/keyturn-worker/role-id")["role_id"]
    made = empty.root.auth.approle.generate_secret_id("keyturn-worker")["data"]["secret_id"]
    for _ in range(7):
        with pytest.raises(hvac.exceptions.InvalidRequest):
            empty.root.auth.approle.login(role_id, secrets.token_hex(16), use_token=False)
    assert empty.root.auth.approle.login(role_id, made, use_token=False)["auth"]["client_token"]


@pytest.mark.attack
def test_a_policy_with_one_more_rule_is_found_and_one_that_is_gone_is_made_again(empty: Empty) -> None:
    everything = wanted(WORKER)
    applied(empty.port, everything)
    text = empty.read("sys/policies/acl/keyturn-worker")["policy"]
    wider = text + 'path "secret/*" { capabilities = ["sudo"] }\n'
    empty.root.write_data("sys/policies/acl/keyturn-worker", data={"policy": wider})
    empty.root.delete("sys/policies/acl/keyturn-notary")

    found = verdicts(planned(empty.port, everything))
    assert found == {"policy:keyturn-worker": "drift", "policy:keyturn-notary": "drift"}
    applied(empty.port, everything)
    assert empty.read("sys/policies/acl/keyturn-worker")["policy"] == text
    assert verdicts(planned(empty.port, everything)) == {}


def test_a_changed_catalogue_is_a_change_and_no_drift(empty: Empty) -> None:
    applied(empty.port, wanted(WORKER))
    changed = wanted({"keyturn-worker": {**WORKER["keyturn-worker"], "token_ttl": "30m"}})
    assert verdicts(planned(empty.port, changed)) == {"approle:approle/keyturn-worker": "change"}
    applied(empty.port, changed)
    assert empty.read("auth/approle/role/keyturn-worker")["token_ttl"] == 1800
    assert verdicts(planned(empty.port, changed)) == {}


class Killed(BaseException):
    """The process ends here."""


class Mortal(VaultSetup):
    """Ends before its call of that number, of those that change anything."""

    def __init__(self, port: VaultSetup, calls: int) -> None:
        super().__init__(port._calls, port._hub)
        self.left = calls

    def put(self, address: str, body: Mapping[str, Any], hidden: Collection[str] = ()) -> None:
        self._spend()
        super().put(address, body, hidden)

    def write_state(self, path: str, data: Mapping[str, Any], *, cas: int) -> int:
        self._spend()
        return super().write_state(path, data, cas=cas)

    def _spend(self) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1


FEW = (
    HubResource(Kind.MOUNT, "keyturn", {"type": "kv", "version": "2"}),
    HubResource(Kind.AUTH_METHOD, "approle", {"type": "approle"}),
    HubResource(Kind.POLICY, "reader", {"policy": 'path "secret/data/a" { capabilities = ["read"] }'}),
    HubResource(Kind.APPROLE, "reader", {"token_policies": ["reader"], "token_ttl": 60}, "approle"),
)


def test_a_process_that_ends_between_any_two_calls_leaves_what_the_next_one_finishes(empty: Empty) -> None:
    for calls in range(6):
        with pytest.raises(Killed):
            applied(Mortal(empty.port, calls), FEW)
        applied(empty.port, FEW)
        assert verdicts(planned(empty.port, FEW)) == {}
        record = read_record(empty.port)
        # Whose the mount is that the record lies in, only the record could tell.
        assert {resource.key for resource in FEW[1:]} <= set(record.made)
        assert not record.intended
        for address in ("sys/auth/approle", "sys/policies/acl/reader", "sys/mounts/keyturn"):
            empty.root.delete(address)


def test_what_keyturn_has_not_made_stays_unless_it_is_named(empty: Empty) -> None:
    empty.root.sys.enable_auth_method("approle")
    empty.root.write_data("auth/approle/role/keyturn-worker", data={"token_policies": "ours"})
    empty.root.write_data("sys/policies/acl/keyturn-notary", data={"policy": 'path "a" { capabilities = ["read"] }'})
    everything, role = wanted(WORKER), "approle:approle/keyturn-worker"
    foreign = {role: "blocked", "policy:keyturn-notary": "blocked"}

    applied(empty.port, everything)
    assert verdicts(planned(empty.port, everything)) == foreign
    assert empty.read("auth/approle/role/keyturn-worker")["token_policies"] == ["ours"]

    applied(empty.port, everything, role)
    assert verdicts(planned(empty.port, everything)) == {"policy:keyturn-notary": "blocked"}
    assert empty.read("auth/approle/role/keyturn-worker")["token_policies"] != ["ours"]

    assert not empty.read("sys/auth/approle/tune").get("user_lockout_disable")
    applied(empty.port, everything, "auth-method:approle")
    assert empty.read("sys/auth/approle/tune")["user_lockout_disable"] is True


@pytest.mark.attack
def test_a_renamed_role_replaces_only_its_own_secret_id(empty: Empty) -> None:
    applied(empty.port, wanted({**WORKER, "ops": WORKER["keyturn-worker"]}))
    role = empty.read("auth/approle/role/ops")
    assert role["token_policies"] == ["keyturn-worker", "ops-login"]
    ids = [empty.read("auth/approle/role/ops/role-id")["role_id"], empty.port.make_secret_id("ops", "here").reveal()]
    token = empty.root.auth.approle.login(*ids, use_token=False)["auth"]["client_token"]
    port = empty.as_token(token).setup()
    assert port.make_secret_id("ops", "here").reveal()
    with pytest.raises(Denied):
        port.make_secret_id("keyturn-worker", "here")


def test_a_policy_that_was_rendered_and_put_there_by_hand_is_keyturns(empty: Empty) -> None:
    (worker,) = (resource for resource in wanted({}) if resource.key == "policy:keyturn-worker")
    older = worker.fields["policy"].replace("secret/data/app/*", "secret/data/former/*")
    empty.root.write_data("sys/policies/acl/keyturn-worker", data={"policy": older})
    assert verdicts(planned(empty.port, wanted({})))["policy:keyturn-worker"] == "change"


def test_a_mount_of_another_kind_and_a_key_that_is_gone_wait_for_a_person(empty: Empty) -> None:
    empty.root.sys.enable_secrets_engine("kv", path="secret", options={"version": "1"})
    everything = wanted({})
    applied(empty.port, everything)
    assert verdicts(planned(empty.port, everything, "*")) == {"mount:secret": "blocked"}

    empty.root.write_data("transit/keys/keyturn-ledger/config", data={"deletion_allowed": True})
    empty.root.delete("transit/keys/keyturn-ledger")
    assert verdicts(applied(empty.port, everything))["transit-key:transit/keyturn-ledger"] == "blocked"
    assert verdicts(planned(empty.port, everything))["transit-key:transit/keyturn-ledger"] == "blocked"
    applied(empty.port, everything, "transit-key:transit/keyturn-ledger")
    assert empty.read("transit/keys/keyturn-ledger")["type"] == "ed25519"


def test_what_nothing_declares_any_more_is_told_and_goes_where_it_is_named(empty: Empty) -> None:
    applied(empty.port, wanted({**WORKER, "engine": {"kind": "engine", "type": "ssh"}}))
    plan = planned(empty.port, wanted({}))
    assert verdicts(plan) == {
        "approle:approle/keyturn-worker": "left over",
        "auth-method:approle": "left over",
        "mount:engine": "left over",
    }
    for key in ("mount:engine", "policy:keyturn-worker"):
        with pytest.raises(Invalid):
            remove_left_over(empty.port, plan, read_record(empty.port), [key])
    remove_left_over(empty.port, plan, read_record(empty.port), ["approle:approle/keyturn-worker"])
    assert "approle:approle/keyturn-worker" not in verdicts(planned(empty.port, wanted({})))
    assert empty.root.read("auth/approle/role/keyturn-worker") is None


@pytest.mark.attack
def test_what_can_not_be_read_is_unknown_with_all_its_contents(empty: Empty) -> None:
    everything = wanted(WORKER)
    applied(empty.port, everything)
    blind = empty.as_token(empty.token("default"))
    plan = plan_setup(blind.setup(), everything, read_record(empty.port))
    assert {item.verdict for item in plan.items} == {SetupVerdict.UNKNOWN}
    assert not plan.differs
    with pytest.raises(Denied):
        read_record(blind.setup())


@pytest.mark.attack
def test_the_planners_policy_shows_everything_and_changes_nothing(empty: Empty) -> None:
    everything = wanted({**WORKER, **JWT, **CLUSTER})
    applied(empty.port, everything)
    key = "keyturn/data/fingerprint-key"
    hub = empty.as_token(empty.token("keyturn-planner"))
    assert verdicts(planned(hub.setup(), everything)) == {}
    changed = wanted({**WORKER, **JWT, **CLUSTER, "late": {**WORKER["keyturn-worker"], "login": "monitor"}})
    with pytest.raises(Denied):
        applied(hub.setup(), changed)
    for address in ("auth/approle/role/keyturn-worker/role-id", "secret/data/app/a", "sys/policies/acl", key):
        with pytest.raises(Denied):
            hub.setup().look(address)


class Meddler(VaultSetup):
    """Somebody else makes the role between the plan and the call that would have made it."""

    def put(self, address: str, body: Mapping[str, Any], hidden: Collection[str] = ()) -> None:
        if address == "sys/policies/acl/reader":
            super().put("auth/approle/role/reader", {"token_policies": ["theirs"]})
        super().put(address, body, hidden)


@pytest.mark.attack
def test_a_manual_change_after_the_plan_is_not_overwritten(empty: Empty) -> None:
    port = empty.port
    with pytest.raises(Conflict):
        applied(Meddler(port._calls, port._hub), FEW)
    assert empty.read("auth/approle/role/reader")["token_policies"] == ["theirs"]
    assert verdicts(planned(port, FEW)) == {"approle:approle/reader": "blocked"}


def test_an_engine_is_connected_with_what_lies_in_the_hub_and_gives_accounts(empty: Empty, world: World) -> None:
    admin = world.root().read("keyturn/data/targets/ml-postgres")["data"]["data"]  # type: ignore[index]
    entries: dict[str, dict[str, Any]] = {
        "ml": {"kind": "database", "target": "pg"},
        "reader": {
            "kind": "database-role",
            "connection": "ml",
            "creation": [
                "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'",
                f'GRANT {OWNER} TO "{{{{name}}}}"',
            ],
            # The hub's own way touches every table in public, those of other tests as well.
            "revocation": ['DROP ROLE IF EXISTS "{{name}}"'],
        },
    }
    target = {"kind": "postgresql", "host": world.host, "port": world.port, "database": DATABASE, "admin": "targets/pg"}
    everything = wanted(entries, {"pg": PostgresqlSettings.model_validate(target)})
    with pytest.raises(Missing, match="targets/pg has no"):
        applied(empty.port, everything)
    empty.hub.write_state("targets/pg", admin, cas=0)
    plan = applied(empty.port, everything)
    assert admin["password"] not in repr(plan)
    assert admin["password"] not in repr(read_record(empty.port))
    assert verdicts(planned(empty.port, everything)) == {}
    assert empty.read("database/creds/reader")["username"].startswith("v-")
    empty.root.sys.revoke_prefix("database/creds/reader")


def test_an_engine_is_connected_to_a_mysql_over_tls_that_it_checks(empty: Empty, mariadb: MariaDB) -> None:
    entries: dict[str, dict[str, Any]] = {
        "shop": {"kind": "database", "target": "maria"},
        "shop-reader": {
            "kind": "database-role",
            "connection": "shop",
            "creation": ["CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'"],
            "revocation": ["DROP USER IF EXISTS '{{name}}'@'%'"],
        },
    }
    target = {
        "kind": "mysql",
        "host": mariadb.host,
        "port": mariadb.port,
        "database": "mysql",
        "admin": "targets/maria",
    }
    checked = MysqlSettings.model_validate({**target, "ca_file": str(mariadb.authority)})
    everything = wanted(entries, {"maria": checked})
    applied(empty.port, [each for each in everything if each.mount != "database"])
    admin = {"username": mariadb.superuser, "password": mariadb.superuser_password}
    empty.hub.write_state("targets/maria", admin, cas=0)
    applied(empty.port, everything)
    assert verdicts(planned(empty.port, everything)) == {}
    assert empty.read("database/creds/shop-reader")["username"].startswith("v-")
    empty.root.sys.revoke_prefix("database/creds/shop-reader")

    strangers = MysqlSettings.model_validate({**target, "ca_file": empty.server.ca_file})
    with pytest.raises(Invalid, match=r"the hub refuses it: .*(certificate|x509)") as refused:
        applied(empty.port, wanted(entries, {"maria": strangers}))
    assert mariadb.superuser_password not in str(refused.value)
    with pytest.raises(Invalid, match="can't be read"):
        wanted(entries, {"maria": MysqlSettings.model_validate({**target, "ca_file": "/nowhere"})})


def test_two_that_set_the_hub_up_at_once_are_told_so(empty: Empty) -> None:
    applied(empty.port, FEW[:1])
    record = read_record(empty.port)
    plan = plan_setup(empty.port, FEW, record)
    applied(empty.port, FEW)
    with pytest.raises(Conflict):
        apply_setup(empty.port, "keyturn", plan, record)


def test_a_refusal_stops_nothing_else_and_all_are_told_in_the_hubs_own_words(empty: Empty) -> None:
    """Of a method that is refused, what is in it is not tried; the rest is made, and a later run needs nothing more."""
    flawed = HubResource(Kind.POLICY, "flawed", {"policy": 'path "secret/*" { capabilities = ["fly"] }'})
    unknown = HubResource(Kind.AUTH_METHOD, "odd", {"type": "no-such-method"})
    within = HubResource(Kind.APPROLE, "odd", {"token_ttl": 60}, "odd")
    with pytest.raises(Invalid, match="it refuses 2: ") as refused:
        applied(empty.port, (FEW[0], unknown, flawed, within, *FEW[1:]))
    assert "auth-method:odd" in refused.value.problem
    assert "the hub has no plugin for it" in refused.value.problem
    assert "fly" in refused.value.problem
    assert verdicts(planned(empty.port, FEW)) == {}


def test_a_hub_that_does_not_answer_is_unknown(empty: Empty) -> None:
    class Silent:
        def look(self, address: str) -> None:
            raise Unavailable("look at", address, "the hub does not answer")

        names, put, remove = look, None, None

    silent: SetupPort = Silent()  # type: ignore[assignment]
    plan = plan_setup(silent, wanted(WORKER, scope=SCOPE), read_record(empty.port))
    assert {item.verdict for item in plan.items} == {SetupVerdict.UNKNOWN}


def test_the_hubs_words_hide_what_was_sent_and_end(empty: Empty) -> None:
    refusal = VaultError(
        errors=[f"can't reach postgres://admin:hunter2@db:5432: key s3cr3t-key is wrong\n{1800 * 'x'}"]
    )
    try:
        raise refusal
    except VaultError:
        error = Invalid("set up", "it", "the hub refuses it")
        error.__context__ = refusal
    said = hubs_words(error, ("s3cr3t-key",))
    assert said.startswith("can't reach postgres://***@db:5432: key *** is wrong x")
    assert len(said) < 500


def test_credentials_of_a_role_that_nothing_has_made_name_the_remedy(empty: Empty) -> None:
    with pytest.raises(NotFound, match=r"the hub has none of that name.*Declare it in the catalogue's hub section"):
        empty.port.role_id("nobody")


def test_consumers_whose_policies_would_have_one_name_are_refused() -> None:
    """The hub stores the names of policies in lower case."""
    readers = {name: (SecretPath("secret", "ml/db"),) for name in ("App", "app")}
    with pytest.raises(Invalid, match="declared twice"):
        wanted({}, scope=replace(SCOPE, consumers=readers))
