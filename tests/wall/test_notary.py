"""Only the notary can sign the ledger and change its signed copies."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hvac
import pytest
from hvac.exceptions import Forbidden

from keyturn.core.errors import Denied, Unrecorded
from keyturn.ledger.checkpoints import read_checkpoint
from keyturn.ledger.forwarding import FORWARDING
from keyturn.ledger.naming import claim_name, read_name
from keyturn.ledger.verify import verify_ledger
from keyturn.providers.ledger.ed25519 import verify_ed25519
from keyturn.providers.ledger.sqlite import SqliteLedger
from keyturn.providers.vault.hub import VaultHub
from keyturn.revocation.report.facts import sign_ledger
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from keyturn.wiring.ledger import configured_ledger, make_checkpoint, named_ledger
from keyturn.wiring.ledger_move import move_ledger
from tests.ledger.entries import entries
from tests.support.clock import Clock
from tests.support.lab import Lab, fresh
from tests.support.world import World

LOGINS = {
    "worker": ["keyturn-worker"],
    "revoker": ["keyturn-worker", "keyturn-revoker"],
    "consumer": ["consumer"],
    "notary": ["keyturn-notary"],
}
SIGN = {"input": "aGVsbG8="}
ANOTHER = {"data": {"origin": "keyturn/elsewhere", "keys": [], "before": []}}

Call = tuple[str, str, dict[str, Any]]
BEYOND_A_WORKER: list[Call] = [
    ("POST", "transit/sign/keyturn-ledger", SIGN),
    ("POST", "transit/sign/keyturn-ledger/sha2-512", SIGN),
    ("POST", "transit/hmac/keyturn-ledger", SIGN),
    ("POST", "transit/keys/keyturn-ledger/rotate", {}),
    ("POST", "transit/keys/keyturn-ledger/config", {"deletion_allowed": True}),
    ("POST", "transit/keys/keyturn-ledger/trim", {"min_available_version": 1}),
    ("DELETE", "transit/keys/keyturn-ledger", {}),
    ("GET", "transit/export/signing-key/keyturn-ledger", {}),
    ("GET", "transit/backup/keyturn-ledger", {}),
    ("POST", "keyturn/data/ledgers/keyturn/NAME", {"data": {"checkpoint": "none"}}),
    ("POST", "keyturn/data/ledgers/keyturn/new", {"data": {"checkpoint": "none"}}),
    ("PATCH", "keyturn/data/ledgers/keyturn/NAME", {"data": {"checkpoint": "none"}}),
    ("DELETE", "keyturn/data/ledgers/keyturn/NAME", {}),
    ("POST", "keyturn/delete/ledgers/keyturn/NAME", {"versions": [1]}),
    ("POST", "keyturn/destroy/ledgers/keyturn/NAME", {"versions": [1]}),
    ("POST", "keyturn/metadata/ledgers/keyturn/NAME", {"delete_version_after": "1s"}),
    ("DELETE", "keyturn/metadata/ledgers/keyturn/NAME", {}),
    ("POST", "keyturn/data/ledger", ANOTHER),
    ("POST", "keyturn/metadata/ledger", {"delete_version_after": "1s"}),
    ("DELETE", "keyturn/metadata/ledger", {}),
    ("DELETE", "keyturn/data/ledger", {}),
    ("POST", f"keyturn/data/{FORWARDING}/keyturn/NAME/c", {"data": {"sequence": 999_999}}),
    ("POST", f"keyturn/metadata/{FORWARDING}/keyturn/NAME/c", {"delete_version_after": "1s"}),
]
BEYOND_THE_NOTARY: list[Call] = [
    ("GET", "secret/data/ml-training/database", {}),
    ("LIST", "secret/metadata/ml-training", {}),
    ("POST", "secret/data/ml-training/new", {"data": {}}),
    ("GET", "keyturn/data/targets/ml-postgres", {}),
    ("GET", "keyturn/data/fingerprint-key", {}),
    ("POST", "keyturn/data/fingerprint-key", {"data": {"key": "mine"}}),
    ("LIST", "keyturn/metadata/", {}),
    ("POST", "transit/sign/another", SIGN),
    *[call for call in BEYOND_A_WORKER if call[1].startswith("transit/") and call[1] != "transit/sign/keyturn-ledger"],
    ("DELETE", "keyturn/data/ledger", {}),
    ("DELETE", "keyturn/metadata/ledger", {}),
    ("DELETE", "keyturn/metadata/ledgers/keyturn/NAME", {}),
    ("POST", "keyturn/destroy/ledgers/keyturn/NAME", {"versions": [1]}),
    ("GET", "database/creds/ml-reader", {}),
    ("POST", "sys/policies/acl/keyturn-notary", {"policy": ""}),
    ("POST", "auth/token/create", {"policies": ["root"]}),
]  # fmt: skip


@pytest.fixture
def name(lab: Lab, tmp_path: Path) -> str:
    """A ledger that the hub names, with a checkpoint."""
    made = fresh()
    with closing(SqliteLedger(tmp_path / "ledger.db", f"keyturn/{made}", patience=5)) as ledger:
        ledger.append(entries(3))
        make_checkpoint(lab.hub, ledger, Clock())
    return made


@pytest.fixture
def login(lab: Lab, world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], VaultHub]]:
    """The hub as one of these roles reaches it, by the policies that the stack gives it."""
    opened: list[VaultHub] = []

    def make(role: str) -> VaultHub:
        token = lab.root.auth.token.create(policies=LOGINS[role])["auth"]["client_token"]
        monkeypatch.setenv(f"TOKEN_OF_{role}", token)
        opened.append(VaultHub(HubSettings(world.hub_address, login=TokenLogin(f"TOKEN_OF_{role}"))))
        return opened[-1]

    yield make
    for hub in opened:
        hub.close()


def refused(lab: Lab, world: World, role: str, call: Call, name: str) -> bool:
    """Whether the hub denies the call to the role's policies, by itself."""
    method, path, body = call
    token = lab.root.auth.token.create(policies=LOGINS[role])["auth"]["client_token"]
    client = hvac.Client(url=world.hub_address, token=token)
    kinds = {"PATCH": {"content-type": "application/merge-patch+json"}}
    try:
        client.adapter.request(method, f"/v1/{path.replace('NAME', name)}", json=body, headers=kinds.get(method))
    except Forbidden:
        return True
    return False


@pytest.mark.parametrize("role", ["worker", "revoker", "consumer"])
def test_no_other_login_can_sign_the_ledger_or_change_its_copies(lab: Lab, world: World, name: str, role: str) -> None:
    assert [call for call in BEYOND_A_WORKER if not refused(lab, world, role, call, name)] == []
    assert read_name(lab.hub)[0] == claim_name(lab.hub, f"keyturn/{name}")


def test_the_notary_has_no_other_rights(lab: Lab, world: World, name: str) -> None:
    assert [call for call in BEYOND_THE_NOTARY if not refused(lab, world, "notary", call, name)] == []


@pytest.mark.parametrize("role", ["worker", "revoker"])
def test_a_worker_writes_entries_and_signs_none(
    lab: Lab, login: Callable[[str], VaultHub], tmp_path: Path, name: str, role: str
) -> None:
    env = {"KEYTURN_LEDGER": str(tmp_path / "ledger.db"), "KEYTURN_LEDGER_NAME": name}
    with closing(named_ledger(env, login(role))) as ledger:
        ledger.append(entries(2))
        with pytest.raises(Denied):
            make_checkpoint(login(role), ledger, Clock())
        assert ledger.size() == 5
        assert read_checkpoint(ledger.newest()).size == 3


def test_an_incident_of_a_login_that_may_not_sign_leaves_that_to_the_notary(
    lab: Lab, login: Callable[[str], VaultHub], tmp_path: Path, name: str
) -> None:
    env = {"KEYTURN_LEDGER": str(tmp_path / "ledger.db"), "KEYTURN_LEDGER_NAME": name}
    opened = lab.open(lab.generated()).workspace
    with closing(configured_ledger(env)) as ledger:
        ledger.append(entries(2))
        assert not sign_ledger(dataclasses.replace(opened, hub=login("revoker")), env)
        assert read_checkpoint(ledger.newest()).size == 3
        assert sign_ledger(dataclasses.replace(opened, hub=login("notary")), env)
        assert read_checkpoint(ledger.newest()).size == 5


def test_a_worker_may_name_the_first_ledger_and_no_second(
    login: Callable[[str], VaultHub], tmp_path: Path, lab: Lab
) -> None:
    env = {"KEYTURN_LEDGER": str(tmp_path / "ledger.db"), "KEYTURN_LEDGER_NAME": fresh()}
    with closing(named_ledger(env, login("worker"))) as ledger:
        ledger.append(entries(1))
    assert claim_name(login("revoker"), "keyturn/second").origin == ledger.origin
    another = {**env, "KEYTURN_LEDGER_NAME": "second"}
    with closing(named_ledger(another, login("worker"))) as second, pytest.raises(Unrecorded, match="the hub names"):
        second.append(entries(1))
    with (
        closing(configured_ledger(env)) as old,
        closing(configured_ledger({"KEYTURN_LEDGER": str(tmp_path / "n")})) as new,
        pytest.raises(Denied),
    ):
        move_ledger(login("worker"), old, new, "mine", Clock())
    assert read_name(lab.hub)[0] == claim_name(lab.hub, "any")


def test_the_notary_does_all_of_its_work_with_its_own_login(
    login: Callable[[str], VaultHub], tmp_path: Path, lab: Lab
) -> None:
    hub = login("notary")
    env = {"KEYTURN_LEDGER": str(tmp_path / "ledger.db"), "KEYTURN_LEDGER_NAME": fresh()}
    with closing(named_ledger(env, hub)) as ledger:
        for first in (1, 4):
            ledger.append(entries(3, first))
            assert make_checkpoint(hub, ledger, lambda: datetime.now(UTC))
        place = f"{FORWARDING}/{ledger.origin}/collector"
        for sequence in (1, 2):
            state = hub.read_state(place)
            hub.write_state(place, {"sequence": sequence}, cas=state.version if state else 0)
        name, _ = read_name(hub)
        assert name
        assert verify_ledger(ledger, name.keys, verify_ed25519).vouched == 6
        with closing(
            configured_ledger({"KEYTURN_LEDGER": str(tmp_path / "new.db"), "KEYTURN_LEDGER_NAME": fresh()})
        ) as new:
            assert move_ledger(hub, ledger, new, "a larger disk", Clock()).origin == new.origin
