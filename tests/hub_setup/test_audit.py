"""The hub's audit devices and their request headers are as declared."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import hvac
import pytest
from hvac.exceptions import Forbidden

from keyturn.core.ports.hub import State
from keyturn.core.rights.hub_setup import HubResource, Kind, SetupVerdict
from keyturn.providers.vault.hub import VaultHub
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from local.openbao import OpenBao
from tests.hub_setup.site import SCOPE, Empty, applied, planned, verdicts, wanted

HEADERS = "sys/config/auditing/request-headers"


class OwnState:
    """The whole hub's set-up, whose record is this test's own: others work in the same root namespace."""

    def __init__(self, hub: VaultHub) -> None:
        port = hub.setup()
        self.look, self.names, self.put = port.look, port.names, port.put
        self.remove, self.begin = port.remove, port.begin
        self.states: dict[str, State] = {}

    def read_state(self, path: str) -> State | None:
        return self.states.get(path)

    def write_state(self, path: str, data: Mapping[str, Any], *, cas: int) -> int:
        self.states[path] = State(dict(data), cas + 1, 0.0)
        return cas + 1


@pytest.fixture
def root(openbao: OpenBao) -> hvac.Client:
    return hvac.Client(url=openbao.address, token=openbao.root_token, verify=openbao.ca_file or True)


@pytest.fixture
def whole(openbao: OpenBao, tmp_path: Path) -> Iterator[OwnState]:
    (tmp_path / "token").write_text(openbao.root_token)
    login = TokenLogin(file=str(tmp_path / "token"))
    with closing(VaultHub(HubSettings(openbao.address, ca_file=openbao.ca_file, login=login))) as hub:
        yield OwnState(hub)


def audited(entries: dict[str, dict[str, Any]]) -> tuple[HubResource, ...]:
    return tuple(each for each in wanted(entries) if each.kind in (Kind.AUDIT_HEADER, Kind.AUDIT_DEVICE))


def test_headers_are_kept_as_declared_and_a_change_by_hand_is_found(
    whole: OwnState, root: hvac.Client, openbao: OpenBao
) -> None:
    name = f"X-{secrets.token_hex(4)}"
    entries: dict[str, dict[str, Any]] = {
        name: {"kind": "audit-header", "hmac": False},
        "file": {"kind": "audit-device", "type": "file"},
    }
    everything, key = audited(entries), f"audit-header:{name}"
    assert verdicts(applied(whole, everything)) == {key: "create"}
    assert root.read(HEADERS)["data"]["headers"][name.lower()] == {"hmac": False}  # type: ignore[index]
    assert verdicts(applied(whole, everything)) == {}

    root.write_data(f"{HEADERS}/{name}", data={"hmac": True})
    (item,) = planned(whole, everything).of(SetupVerdict.DRIFT)
    assert [(each.field, each.present, each.wanted) for each in item.differences] == [("hmac", True, False)]
    applied(whole, everything)
    root.delete(f"{HEADERS}/{name}")
    assert verdicts(planned(whole, everything)) == {key: "drift"}


@pytest.mark.attack
def test_the_planner_sees_both_a_worker_headers_alone_and_neither_changes_any(
    root: hvac.Client, openbao: OpenBao
) -> None:
    entries = {"file": {"kind": "audit-device", "type": "file"}, "User-Agent": {"kind": "audit-header"}}
    scope = replace(SCOPE, set_up=tuple(sorted(each.told_at for each in audited(entries))))
    policies = {each.name: each.fields["policy"] for each in wanted(entries, scope=scope) if each.kind is Kind.POLICY}
    for login, sees in (("keyturn-planner", True), ("keyturn-worker", False)):
        name = f"{login}-{secrets.token_hex(4)}"
        root.sys.create_or_update_policy(name, policies[login])
        token = root.auth.token.create(policies=[name], no_default_policy=True)["auth"]["client_token"]
        client = hvac.Client(url=openbao.address, token=token, verify=openbao.ca_file or True)
        assert client.read(HEADERS) is not None
        if sees:
            assert "file/" in client.read("sys/audit")["data"]  # type: ignore[index]
        else:
            with pytest.raises(Forbidden):
                client.read("sys/audit")
        for address in (f"{HEADERS}/User-Agent", "sys/audit/other"):
            with pytest.raises(Forbidden):
                client.write_data(address, data={"type": "file", "hmac": False})


def test_a_device_that_lacks_is_left_to_whoever_runs_the_hub(whole: OwnState) -> None:
    everything = audited({"syslog": {"kind": "audit-device", "type": "syslog"}})
    (item,) = applied(whole, everything).items
    assert item.verdict == "blocked"
    assert "those who run the hub declare it" in item.why


def test_in_a_namespace_nobody_can_tell(empty: Empty) -> None:
    entries = {"file": {"kind": "audit-device", "type": "file"}, "User-Agent": {"kind": "audit-header"}}
    (device, header) = planned(empty.port, audited(entries)).items
    assert {device.verdict, header.verdict} == {SetupVerdict.UNKNOWN}
    assert "only in its root namespace" in header.why
