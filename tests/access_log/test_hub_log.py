"""Accesses in a real OpenBao's audit file: logins, refusals, wrapping and rotated files."""

import gzip
import io
import json
import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hvac
import pytest
from hvac.exceptions import Forbidden, InvalidPath
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyturn.access_log import log_files
from keyturn.access_log.hub_log import HubAuditLog
from keyturn.access_log.hub_reads import HubReads
from keyturn.access_log.readers import gather
from keyturn.core.errors import Unavailable
from keyturn.core.ports.access import Access, AccessLog
from keyturn.core.text.audit_lines import AuditMount
from tests.access_log.hub import LONG_AGO, LONG_AHEAD, READER, Hub, read
from tests.support import sampling
from tests.support.mounts import make_kv


def test_it_fills_the_port(hub: Hub) -> None:
    log: AccessLog = HubAuditLog(hub.server.audit_log, "secret")
    assert str(hub.server.audit_log) in log.name


def test_every_kind_of_login_is_told_by_a_name_that_people_know(hub: Hub) -> None:
    approle, ana = hub.approle("trainer"), hub.userpass("ana")
    made = hub.client(hub.root.auth.token.create(policies=["reader"], display_name="ci")["auth"]["client_token"])
    told = hub.during(lambda: [read(client) for client in (hub.root, approle, ana, made)])
    assert [access.principal for access in told] == [
        "token (root policy)",
        "approle trainer",
        "userpass-ana",
        "token-ci",
    ]
    assert {(access.system, access.path, access.source, access.denied) for access in told} == {
        ("hub", "ml/database", "127.0.0.1", False)
    }


def test_two_logins_of_one_role_are_told_apart(hub: Hub) -> None:
    first, second = hub.approle("trainer"), hub.approle("trainer")
    told = hub.during(lambda: [read(client) for client in (first, second, first)])
    logins = [access.login for access in told]
    assert logins[0] == logins[2] != logins[1]
    assert all(len(login) == 8 for login in logins)


def test_a_login_is_told_with_its_policies_and_the_reads_that_follow_with_the_one_that_allowed_them(hub: Hub) -> None:
    def work() -> None:
        read(hub.userpass("ana"))
        read(hub.approle("trainer"))

    told = hub.during(work, logins=True)
    assert [(access.action, access.path, access.principal, access.granted) for access in told] == [
        ("login", "auth/userpass/login/ana", "userpass-ana", "default,reader"),
        ("read", "ml/database", "userpass-ana", "reader"),
        ("login", "auth/approle/login", "approle trainer", "default,reader"),
        ("read", "ml/database", "approle trainer", "reader"),
    ]
    logins = [access.login for access in told]
    assert logins[0] == logins[1] != logins[2] == logins[3]
    assert [access.granted for access in hub.during(lambda: read(hub.root))] == ["root"]


def test_changes_of_what_logins_may_do_are_told_by_who_made_them(hub: Hub) -> None:
    rule = 'path "sys/policies/acl/ml*" { capabilities = ["update", "delete"] }'
    hub.root.sys.create_or_update_policy("keeper", rule)
    made = hub.root.auth.token.create(policies=["keeper"], display_name="keeper")["auth"]["client_token"]
    keeper, root, reads = hub.client(made), hub.root, hub.told()

    def work() -> None:
        policies = "/v1/sys/policies/acl"
        keeper.adapter.put(f"{policies}/ml", json={"policy": READER})
        with pytest.raises(Forbidden):
            keeper.adapter.put(f"{policies}/others", json={"policy": READER})
        keeper.adapter.delete(f"{policies}/ml")
        root.sys.read_policy("reader")
        root.sys.create_or_update_policy("older", READER)
        root.auth.approle.create_or_update_approle("other", token_policies=["reader"])
        root.auth.approle.generate_secret_id("other")
        root.auth.userpass.create_or_update_user("eva", "a passphrase", ["reader"])
        root.secrets.identity.create_or_update_group_by_name(name="ml", policies=["reader"])
        root.secrets.identity.lookup_group(name="ml")
        root.write_data("sys/namespaces/elsewhere", data={})
        elsewhere = hvac.Client(url=hub.server.address, token=hub.server.root_token, namespace="elsewhere")
        elsewhere.sys.create_or_update_policy("reader", READER)

    told = hub.during(work, logins=True)
    # Others of the package look at who may read what in the same hub.
    root.sys.delete_policy("older")
    assert [(access.principal, access.path, access.denied, access.granted) for access in told] == [
        ("token-keeper", "policies/ml", False, "keeper"),
        ("token-keeper", "policies/others", True, ""),
        ("token-keeper", "policies/ml", False, "keeper"),
        ("token (root policy)", "policies/older", False, "root"),
        ("token (root policy)", "auth/approle/role/other", False, "root"),
        ("token (root policy)", "auth/userpass/users/eva", False, "root"),
        ("token (root policy)", "identity/group/name/ml", False, "root"),
    ]
    assert {(access.action, access.source, bool(access.login)) for access in told} == {("change", "127.0.0.1", True)}
    assert hub.told() == reads, "who wants reads alone is told of no changes"


@pytest.mark.attack
def test_deletions_and_destructions_name_their_principal(hub: Hub) -> None:
    rule = 'path "secret/delete/ml/*" { capabilities = ["update"] }'
    hub.root.sys.create_or_update_policy("cleaner", rule)
    made = hub.root.auth.token.create(policies=["cleaner"], display_name="cleaner")["auth"]["client_token"]
    cleaner, kv, reads = hub.client(made).secrets.kv.v2, hub.root.secrets.kv.v2, hub.told()
    for _ in range(4):
        kv.create_or_update_secret("ml/ended", {"password": "x"})

    def work() -> None:
        cleaner.delete_secret_versions("ml/ended", [2])
        with pytest.raises(Forbidden):
            cleaner.destroy_secret_versions("ml/ended", [2])
        kv.undelete_secret_versions("ml/ended", [2])
        kv.delete_latest_version_of_secret("ml/ended")
        kv.destroy_secret_versions("ml/ended", [1, 3])
        kv.delete_metadata_and_all_versions("ml/ended")

    told = hub.during(work, logins=True)
    assert [(access.action, access.path, access.principal, access.denied, access.granted) for access in told] == [
        ("delete", "ml/ended", "token-cleaner", False, "cleaner"),
        ("destroy", "ml/ended", "token-cleaner", True, ""),
        ("delete", "ml/ended", "token (root policy)", False, "root"),
        ("destroy", "ml/ended", "token (root policy)", False, "root"),
        ("destroy", "ml/ended", "token (root policy)", False, "root"),
    ]
    assert [access.version for access in told] == [2, 2, None, None, None]
    assert hub.told() == reads, "who wants reads alone is told of no ends"


def test_the_version_that_was_given_is_told_though_the_request_is_hashed(hub: Hub) -> None:
    told = hub.during(lambda: [read(hub.root), read(hub.root, version=1)])
    assert [access.version for access in told] == [2, 1]


def test_a_refused_read_is_an_attempt_that_got_nothing(hub: Hub) -> None:
    def refused() -> None:
        for client in (hub.userpass("ana"), hub.client("s.thistokenisnotknowntoanybody")):
            with pytest.raises(Forbidden):
                read(client, "others/key")

    told = hub.during(refused)
    assert [(access.principal, access.path, access.denied) for access in told] == [
        ("userpass-ana", "others/key", True),
        ("unknown token", "others/key", True),
    ]
    assert "thistoken" not in str(told)


def test_what_is_absent_or_deleted_gives_nothing(hub: Hub) -> None:
    kv = hub.root.secrets.kv.v2
    kv.create_or_update_secret("ml/gone", {"password": "x"})
    kv.delete_latest_version_of_secret("ml/gone")

    def look() -> None:
        for path in ("ml/gone", "ml/never"):
            with suppress(InvalidPath):
                read(hub.root, path)

    assert [(access.path, access.denied) for access in hub.during(look)] == [("ml/gone", True), ("ml/never", True)]


def test_metadata_subkeys_listings_and_writes_are_no_reads_of_a_value(hub: Hub) -> None:
    def work() -> None:
        kv = hub.root.secrets.kv.v2
        kv.read_secret_metadata("ml/database")
        kv.list_secrets("ml")
        hub.root.read("secret/subkeys/ml/database")
        kv.create_or_update_secret("ml/other", {"password": "x"})

    assert hub.during(work) == []


def test_unwrapping_is_a_read_of_its_own_by_whoever_unwraps(hub: Hub) -> None:
    approle, ana = hub.approle("trainer"), hub.userpass("ana")

    def work() -> None:
        for unwrap in (
            lambda token: hub.client(token).sys.unwrap(),
            lambda token: ana.sys.unwrap(token),
        ):
            wrapped = approle.adapter.get("/v1/secret/data/ml/database", wrap_ttl="60s")
            unwrap(wrapped["wrap_info"]["token"])

    told = hub.during(work)
    assert [(access.principal, access.path, access.version) for access in told] == [
        ("approle trainer", "ml/database", None),
        ("wrapping token of approle trainer", "ml/database", 2),
        ("approle trainer", "ml/database", None),
        ("userpass-ana", "ml/database", 2),
    ]


def test_a_forwarded_address_is_told_as_what_it_claims(hub: Hub) -> None:
    hub.root.write_data("sys/config/auditing/request-headers/X-Forwarded-For", data={"hmac": False})
    headers = {"X-Forwarded-For": "198.51.100.4"}
    told = hub.during(lambda: hub.root.adapter.get("/v1/secret/data/ml/database", headers=headers))
    assert [access.source for access in told] == ["127.0.0.1, said to be for 198.51.100.4"]


def test_a_hashed_forwarded_address_is_left_out(hub: Hub) -> None:
    hub.root.write_data("sys/config/auditing/request-headers/X-Forwarded-For", data={"hmac": True})
    headers = {"X-Forwarded-For": "198.51.100.4"}
    told = hub.during(lambda: hub.root.adapter.get("/v1/secret/data/ml/database", headers=headers))
    assert [access.source for access in told] == ["127.0.0.1"]


def test_the_version_that_a_wrapped_read_asked_for_is_told_where_the_hub_logs_it_in_clear(hub: Hub) -> None:
    hub.root.write_data("sys/mounts/secret/tune", data={"audit_non_hmac_request_keys": ["version"]})
    get = hub.root.adapter.get
    told = hub.during(lambda: get("/v1/secret/data/ml/database", params={"version": 1}, wrap_ttl="60s"))
    assert [access.version for access in told] == [1]


def test_metadata_that_the_maker_of_a_token_chose_names_nobody(hub: Hub) -> None:
    ways = hub.root.auth.token
    made = ways.create(policies=["reader"], meta={"role_name": "keyturn-worker"})["auth"]["client_token"]
    assert [access.principal for access in hub.during(lambda: read(hub.client(made)))] == ["token-token"]


def test_other_mounts_and_namespaces_are_left_out(hub: Hub) -> None:
    hub.root.write_data("sys/namespaces/team", data={})
    team = hvac.Client(url=hub.server.address, token=hub.server.root_token, namespace="team")
    for client, mount in ((hub.root, "other"), (team, "secret")):
        make_kv(client, mount)
        client.secrets.kv.v2.create_or_update_secret("x", {"a": "b"}, mount_point=mount)

    def work() -> None:
        hub.root.secrets.kv.v2.read_secret_version("x", mount_point="other", raise_on_deleted_version=True)
        team.secrets.kv.v2.read_secret_version("x", raise_on_deleted_version=True)

    assert hub.during(work) == []
    assert [access.path for access in hub.during(work, "other")] == ["x"]
    assert [access.path for access in hub.during(work, "secret", "team")] == ["x"]


def test_a_path_with_any_letters_is_told_as_it_is(hub: Hub) -> None:
    path = 'ml/a b"<c>&\\é'
    hub.root.secrets.kv.v2.create_or_update_secret(path, {"a": "b"})
    assert [access.path for access in hub.during(lambda: read(hub.root, path))] == [path]


def test_only_the_period_that_was_asked_for_is_told(hub: Hub) -> None:
    read(hub.root)
    read(hub.root)
    *_, before, last = hub.told()
    log = HubAuditLog(hub.server.audit_log, "secret")
    assert list(log.accesses(last.at, LONG_AHEAD)) == [last]
    assert before in list(log.accesses(LONG_AGO, before.at))
    assert last not in list(log.accesses(LONG_AGO, before.at))


def test_a_report_of_the_readers_is_made_of_it(hub: Hub) -> None:
    root, trainer = hub.root, hub.approle("trainer")
    root.secrets.kv.v2.create_or_update_secret("ml/key", {"key": "x"})
    root.secrets.kv.v2.create_or_update_secret("ml/more", {"key": "x"})
    for client, path in ((trainer, "ml/key"), (trainer, "ml/more"), (root, "ml/key"), (hub.userpass("ana"), "ml/more")):
        read(client, path)
    told = gather(
        [HubAuditLog(hub.server.audit_log, "secret")], ["ml/key"], LONG_AGO, LONG_AHEAD, own=["token (root policy)"]
    )
    assert [(one.principal, one.reads, one.own) for one in told.paths[0].readers] == [
        ("approle trainer", 1, False),
        ("token (root policy)", 1, True),
    ]
    assert ("approle trainer", "ml/more") in {(one.principal, one.path) for one in told.related}
    assert {one.principal for one in told.related} == {"approle trainer"}
    assert told.logs[0].coverage.gaps[-1].startswith("it begins at ")


# --- files: rotated, packed, torn ---------------------------------------------------------------------------


NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def sample(hub: Hub) -> dict[str, Any]:
    """A real line of a read."""
    read(hub.approle("trainer"))
    return next(
        said
        for text in reversed(hub.server.audit_log.read_text().splitlines())
        if (said := json.loads(text))["type"] == "response" and said["request"].get("path") == "secret/data/ml/database"
    )


def line(sample: dict[str, Any], at: datetime, **changes: Any) -> bytes:
    """The same read at another time, with other parts."""
    stamped = sample | {"time": at.isoformat().replace("+00:00", "Z")} | changes
    return json.dumps(stamped, separators=(",", ":")).encode() + b"\n"


def written(file: Path, text: bytes, changed: datetime) -> None:
    """A file that was last changed then."""
    file.write_bytes(gzip.compress(text) if file.suffix == ".gz" else text)
    os.utime(file, (changed.timestamp(), changed.timestamp()))


def accesses(file: Path, since: datetime = LONG_AGO, until: datetime = LONG_AHEAD) -> tuple[list[Access], HubAuditLog]:
    log = HubAuditLog(file, "secret")
    return list(log.accesses(since, until)), log


def test_rotated_files_are_read_oldest_first_whatever_they_are_called(tmp_path: Path, sample: dict[str, Any]) -> None:
    hours = [NOON + timedelta(hours=hour) for hour in range(4)]
    names = ("audit.log.2.gz", "audit.log-20261124", "audit.log.1", "audit.log")
    for name, hour in zip(names, hours, strict=True):
        written(tmp_path / name, line(sample, hour), hour + timedelta(minutes=59))
    written(tmp_path / "audit.log.keyturn", b'{"inode": 1}', hours[0])
    written(tmp_path / "audit.logbook", line(sample, hours[0]), hours[0])
    told, log = accesses(tmp_path / "audit.log")
    assert [access.at for access in told] == hours
    assert (log.coverage.lines, log.coverage.first, log.coverage.last) == (4, hours[0], hours[3])


def test_files_that_ended_before_the_period_are_not_even_opened(tmp_path: Path, sample: dict[str, Any]) -> None:
    day = timedelta(days=1)
    (tmp_path / "audit.log.2.gz").write_bytes(b"this is nothing that could be unpacked")
    os.utime(tmp_path / "audit.log.2.gz", ((NOON - 3 * day).timestamp(),) * 2)
    written(tmp_path / "audit.log.1", line(sample, NOON), NOON + timedelta(hours=1))
    written(tmp_path / "audit.log", line(sample, NOON + 3 * day), NOON + 3 * day)
    told, log = accesses(tmp_path / "audit.log", NOON - day, NOON + day)
    assert [access.at for access in told] == [NOON]
    assert log.coverage.lines == 2
    assert log.coverage.gaps == ()


def test_an_absurd_first_line_hides_nothing_behind_it(tmp_path: Path, sample: dict[str, Any]) -> None:
    day = timedelta(days=1)
    for time in (NOON + 2 * day, NOON + 300 * day):
        written(tmp_path / "audit.log", line(sample, time) + line(sample, NOON), NOON + 3 * day)
        assert [access.at for access in accesses(tmp_path / "audit.log", NOON - day, NOON + day)[0]] == [NOON]


def test_the_first_file_of_a_rotation_that_is_under_way_may_be_missing(tmp_path: Path, sample: dict[str, Any]) -> None:
    written(tmp_path / "audit.log.1", line(sample, NOON), NOON)
    assert len(accesses(tmp_path / "audit.log")[0]) == 1


def test_a_torn_line_is_counted_and_stops_nothing(tmp_path: Path, sample: dict[str, Any]) -> None:
    whole = line(sample, NOON)
    torn = [whole[:200] + b"\n", whole[200:], b"<xml/>\n", whole.replace(b'"request":{', b'"request":{,'), b"\n"]
    written(tmp_path / "audit.log", whole + b"".join(torn) + line(sample, NOON + timedelta(hours=1)), NOON)
    told, log = accesses(tmp_path / "audit.log", NOON)
    assert [access.at for access in told] == [NOON, NOON + timedelta(hours=1)]
    assert log.coverage.gaps == ("4 of its lines could not be read",)
    assert log.coverage.last == NOON + timedelta(hours=1)


@pytest.mark.parametrize(
    "changes",
    [
        {"time": "yesterday"},
        {"time": 7},
        {"time": "9999-12-31T23:59:59-23:59"},
        {"auth": {"display_name": "x", "policies": 7}},
        {"auth": {"display_name": ["x"]}},
        {"auth": {"policy_results": {"granting_policies": ["x"]}}},
        {"request": 7, "auth": []},
        {"response": {"data": ["x"]}},
        {"response": {"data": {"metadata": {"version": "2"}}}},
        {"response": {"data": {"metadata": {"version": 10**400}}}},
        {"error": {"why": "x"}},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_a_line_of_another_shape_is_counted_and_stops_nothing(
    tmp_path: Path, sample: dict[str, Any], changes: dict[str, Any]
) -> None:
    odd = line(sample, NOON, **changes, note="secret/data/")
    written(tmp_path / "audit.log", odd + line(sample, NOON), NOON)
    told, log = accesses(tmp_path / "audit.log", NOON)
    assert [access.at for access in told] == [NOON]
    assert log.coverage.lines == 2
    assert "1 of its lines could not be read" in log.coverage.gaps


@pytest.mark.parametrize("odd", [b"\xff", b"\\ud800"], ids=["no UTF-8", "half a surrogate"])
def test_a_name_that_is_no_text_stops_nothing(tmp_path: Path, sample: dict[str, Any], odd: bytes) -> None:
    broken = line(sample, NOON).replace(b'"path":"secret/data/ml', b'"path":"secret/data/' + odd)
    written(tmp_path / "audit.log", broken + line(sample, NOON), NOON)
    told, log = accesses(tmp_path / "audit.log", NOON)
    assert len(told) == 1
    assert log.coverage.gaps == ("1 of its lines could not be read",)


@settings(
    max_examples=sampling.examples(60, 300), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
def test_whatever_becomes_of_a_line_it_is_read_or_refused(sample: dict[str, Any], data: st.DataObject) -> None:
    whole = line(sample, NOON)[:-1]
    at = data.draw(st.integers(0, len(whole)))
    put = data.draw(st.sampled_from([b"", b"0", b"null", b"[]", b"{}", b'"', b"\\", b"\x00", b"\xc3", b"1e999", b"-"]))
    with suppress(ValueError):
        HubReads(AuditMount("secret")).access(whole[:at] + put + whole[at + data.draw(st.integers(0, 40)) :])


@pytest.mark.parametrize(
    ("path", "operation", "actions"),
    [
        ("auth/oidc/oidc/callback", "read", ["login"]),
        ("auth/a/b/oidc/poll", "update", ["login"]),
        ("auth/oidc/oidc/auth_url", "update", []),
        ("auth/token/create", "update", []),
    ],
)
def test_a_login_through_a_browser_is_one_where_it_ends(
    tmp_path: Path, hub: Hub, sample: dict[str, Any], path: str, operation: str, actions: list[str]
) -> None:
    hub.userpass("ana")
    login = next(
        record
        for text in reversed(hub.server.audit_log.read_text().splitlines())
        if (record := json.loads(text))["type"] == "response" and record["request"]["path"] == "auth/userpass/login/ana"
    )
    request = login["request"] | {"path": path, "operation": operation}
    pending = line(login, NOON, request=request, response={})
    written(tmp_path / "audit.log", pending + line(login, NOON, request=request), NOON)
    log = HubAuditLog(tmp_path / "audit.log", "secret", logins=True)
    told = list(log.accesses(LONG_AGO, LONG_AHEAD))
    assert [access.action for access in told] == actions
    assert {(access.principal, access.granted) for access in told} <= {("userpass-ana", "default,reader")}


def test_a_line_as_long_as_the_hub_takes_requests_is_read(tmp_path: Path, sample: dict[str, Any]) -> None:
    response = {"data": {"data": {"x": "y" * 8_000_000}, "metadata": {"version": 7}}}
    written(tmp_path / "audit.log", line(sample, NOON, response=response), NOON)
    assert [access.version for access in accesses(tmp_path / "audit.log")[0]] == [7]


def test_what_was_unwrapped_may_have_any_shape(tmp_path: Path, sample: dict[str, Any]) -> None:
    request = sample["request"] | {"path": "sys/wrapping/unwrap", "operation": "update"}
    response = {"data": {"metadata": "hmac-sha256:00", "http_status_code": "x"}}
    other = line(sample, NOON, request=request, response=response)
    written(tmp_path / "audit.log", other + line(sample, NOON), NOON)
    told, log = accesses(tmp_path / "audit.log", NOON)
    assert [access.path for access in told] == ["ml/database"]
    assert log.coverage.gaps == ()


VAULT = b"""{"auth":{"accessor":"hmac-sha256:aa11bb22cc","client_token":"hmac-sha256:dd","display_name":\
"kubernetes-ml-trainer",\
"entity_id":"8f","metadata":{"role":"trainer","service_account_name":"trainer","service_account_namespace":"ml"},\
"policies":["default","reader"],"policy_results":{"allowed":true,"granting_policies":[{"type":""},{"name":"reader",\
"namespace_id":"root","type":"acl"}]},"token_issue_time":"2026-11-24T12:59:58+01:00","token_policies":["default"],\
"token_ttl":3600,"token_type":"service"},"request":{"client_id":"8f","client_token":"hmac-sha256:dd",\
"client_token_accessor":"hmac-sha256:aa11bb22cc","headers":{"x-forwarded-for":["198.51.100.4","10.0.0.2"]},"id":"1b",\
"mount_accessor":"kv_1","mount_class":"secret","mount_is_external_plugin":false,"mount_point":"secret/",\
"mount_running_version":"v0.24.0+builtin","mount_type":"kv","namespace":{"id":"root"},"operation":"read",\
"path":"secret/data/ml/database","remote_address":"10.0.0.9","remote_port":41578,"request_uri":"/v1/secret/data/ml/database"},\
"response":{"data":{"data":{"password":"hmac-sha256:ee"},"metadata":{"created_time":"hmac-sha256:ff","custom_metadata":null,\
"deletion_time":"","destroyed":false,"version":3}},"mount_accessor":"kv_1","mount_class":"secret","mount_point":"secret/",\
"mount_running_plugin_version":"v0.24.0+builtin","mount_type":"kv","warnings":null},"time":"2026-11-24T12:00:00.000000123Z",\
"type":"response","forwarded_from":"vault-1:8200"}
"""
"""A response as Vault 1.21 writes it: keys in the order of their names, times as texts, which are hashed."""


def test_a_line_of_vault_tells_the_same(tmp_path: Path) -> None:
    written(tmp_path / "audit.log", VAULT.replace(b"\\\n", b""), NOON)
    told, log = accesses(tmp_path / "audit.log", NOON)
    assert told == [
        Access(
            at=NOON,
            system="hub",
            path="ml/database",
            version=3,
            principal="kubernetes-ml-trainer",
            source="10.0.0.9, said to be for 198.51.100.4, 10.0.0.2",
            login="aa11bb22",
            granted="reader",
        )
    ]
    assert log.coverage.gaps == ()


def test_a_request_that_nests_without_end_stops_nothing(tmp_path: Path, sample: dict[str, Any]) -> None:
    deep = line(sample, NOON).replace(
        b'"request":{', b'"request":{"data":' + b'{"a":' * 20_000 + b"1" + b"}" * 20_000 + b","
    )
    written(tmp_path / "audit.log", deep + line(sample, NOON), NOON)
    told, log = accesses(tmp_path / "audit.log", NOON)
    assert len(told) == 1
    assert log.coverage.gaps == ("1 of its lines could not be read",)


def test_a_log_that_begins_after_the_period_says_so(tmp_path: Path, sample: dict[str, Any]) -> None:
    written(tmp_path / "audit.log", line(sample, NOON), NOON)
    assert accesses(tmp_path / "audit.log", NOON - timedelta(days=1))[1].coverage.gaps == (
        "it begins at 2026-11-24 12:00:00 UTC; what was read before is not known",
    )


def test_a_log_that_ended_before_the_period_says_so(tmp_path: Path, sample: dict[str, Any]) -> None:
    written(tmp_path / "audit.log", line(sample, NOON), NOON)
    told, log = accesses(tmp_path / "audit.log", NOON + timedelta(days=1))
    assert told == []
    assert log.coverage.gaps == ("it reports nothing after 2026-11-24 12:00:00 UTC",)


def test_a_packed_file_that_breaks_off_is_read_as_far_as_it_goes(tmp_path: Path, sample: dict[str, Any]) -> None:
    many = b"".join(line(sample, NOON + timedelta(seconds=second), note=os.urandom(99).hex()) for second in range(9999))
    packed = gzip.compress(many, 1)
    (tmp_path / "audit.log.1.gz").write_bytes(packed[: len(packed) * 2 // 3])
    written(tmp_path / "audit.log", line(sample, NOON + timedelta(days=1)), NOON + timedelta(days=1))
    told, log = accesses(tmp_path / "audit.log", NOON)
    assert told[-1].at == NOON + timedelta(days=1)
    assert 1 < len(told) < 9999
    assert "audit.log.1.gz could not be read to its end: it is broken" in log.coverage.gaps


def test_a_file_that_is_packed_in_an_unknown_way_is_told(tmp_path: Path, sample: dict[str, Any]) -> None:
    (tmp_path / "audit.log.1.zst").write_bytes(b"(packed)")
    written(tmp_path / "audit.log", line(sample, NOON), NOON)
    gaps = accesses(tmp_path / "audit.log", NOON)[1].coverage.gaps
    assert gaps == ("audit.log.1.zst could not be read: it is packed as zst, which is not read here",)


def test_a_device_that_leaves_out_what_was_given_is_told(tmp_path: Path, sample: dict[str, Any]) -> None:
    response = {name: part for name, part in sample["response"].items() if name != "data"}
    written(tmp_path / "audit.log", line(sample, NOON, response=response), NOON)
    told, log = accesses(tmp_path / "audit.log", NOON)
    assert [access.denied for access in told] == [True]
    assert "no line records what was returned" in log.coverage.gaps[0]


def test_a_token_in_clear_is_never_shown(tmp_path: Path, sample: dict[str, Any]) -> None:
    request = sample["request"] | {"client_token": "s.RuXxQ3kqiBNWsKRKxdDlJSrg"}
    auth = {name: part for name, part in sample["auth"].items() if name not in ("accessor", "client_token")}
    written(tmp_path / "audit.log", line(sample, NOON, request=request, auth=auth), NOON)
    (told,) = accesses(tmp_path / "audit.log")[0]
    assert told.login == ""
    assert "RuXx" not in str(told)


def test_without_a_file_it_says_what_is_missing(tmp_path: Path) -> None:
    for file in (tmp_path / "audit.log", tmp_path / "nowhere" / "audit.log"):
        with pytest.raises(Unavailable, match=r"read .*audit\.log"):
            accesses(file)


def test_a_file_that_can_not_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / "audit.log").mkdir()
    with pytest.raises(Unavailable, match="directory"):
        accesses(tmp_path / "audit.log")


def test_an_empty_file_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "audit.log").touch()
    told, log = accesses(tmp_path / "audit.log")
    assert told == []
    assert log.coverage.gaps == ("it reports nothing",)


def test_a_line_without_end_is_given_in_part_and_the_next_one_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_files, "CHUNK", 16)
    text = io.BytesIO(b"one\n" + b"x" * 100 + b"\ntwo\n\nthree")
    told = list(log_files.lines(text, longest=40))
    assert [told[0], *told[2:]] == [b"one", b"two", b"three"]
    assert told[1] == b"x" * 40


def test_lines_are_the_same_wherever_the_chunks_end(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"a\nbb\n\nccc\ndddd\n"
    for size in range(1, len(text) + 1):
        monkeypatch.setattr(log_files, "CHUNK", size)
        assert list(log_files.lines(io.BytesIO(text))) == [b"a", b"bb", b"ccc", b"dddd"]


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "audit.log")
    with pytest.raises(Unavailable, match="no regular file"):
        accesses(tmp_path / "audit.log")
