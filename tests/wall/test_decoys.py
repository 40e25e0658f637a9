"""Decoys can't be distinguished from secrets in use."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import hvac
import pytest
from hvac.exceptions import Forbidden

from keyturn.access_log.detection.alerts import Alert, Level, Stage
from keyturn.access_log.detection.detector import Detector
from keyturn.access_log.hub_log import HubAuditLog
from keyturn.catalogue.monitor_policies import DeclaredPolicies
from keyturn.core.schedule.due import Trigger
from keyturn.ledger.entries import parse_leaf
from keyturn.rotation.copies.push import sync_destinations
from keyturn.rotation.run import rotate
from keyturn.serving.access_parts import CurrentPolicies
from local.openbao import OpenBao
from tests.access_log.hub import LONG_AGO, LONG_AHEAD
from tests.support.lab import Declared, Lab, Opened
from tests.support.people import program


@dataclass
class Pair:
    """A decoy and what is used, both rotated and pushed by a login of Keyturn."""

    lab: Lab
    decoy: Declared
    used: Declared
    opened: Opened
    own: str
    log: Callable[[], HubAuditLog]

    def alerts(self) -> list[Alert]:
        """What a detector begins to tell of the hub's log."""
        policies = DeclaredPolicies({}, self.opened.workspace.catalogue, own=[self.own])
        detector = Detector(policies, live=True)
        alerts = detector.take_all(self.log().accesses(LONG_AGO, LONG_AHEAD))
        return [alert for alert in alerts if alert.stage is Stage.BEGUN and self.decoy.path in paths(alert)]

    def read(self, policies: list[str]) -> None:
        """Somebody tries to read the decoy."""
        token = self.lab.root.auth.token.create(policies=policies, ttl="1h")["auth"]["client_token"]
        kv = hvac.Client(url=self.lab.world.hub_address, token=token).secrets.kv.v2
        with suppress(Forbidden):
            kv.read_secret_version(self.decoy.path, raise_on_deleted_version=True)

    def seen(self, secret: Declared) -> dict[str, Any]:
        """Everything beside its value that is kept of one: in the hub, in its store, in Keyturn's own state."""
        kv = self.lab.root.secrets.kv.v2
        metadata = kv.read_secret_metadata(secret.path)["data"]
        state = self.lab.hub.read_state(f"rotations/{secret.path}")
        copy = self.opened.store.describe(secret.path)
        assert state
        assert copy
        return {"hub": metadata, "state": dict(state.data), "copy": asdict(copy)}


def paths(alert: Alert) -> set[str]:
    return {event.path for event in alert.events}


@pytest.fixture
def pair(lab: Lab, openbao: OpenBao, tmp_path: Path) -> Pair:
    begin = openbao.audit_log.stat().st_size

    def tail() -> HubAuditLog:
        rest = tmp_path / "audit.log"
        rest.write_bytes(openbao.audit_log.read_bytes()[begin:])
        return HubAuditLog(rest, "secret")

    both = [lab.generated(destinations=[]) for _ in range(2)]
    decoy, used = (secret.having(destinations=[{"store": "memory", "name": secret.path}]) for secret in both)
    decoy = decoy.having(decoy=True)
    keyturn = program(lab, "keyturn")
    opened = lab.open(decoy, used)
    opened.workspace = keyturn.workspace(opened.workspace)
    for secret in (decoy, used):
        rotate(opened.workspace, secret.path, Trigger.FORCE)
        sync_destinations(opened.workspace, secret.path)
    return Pair(lab, decoy, used, opened, f"approle {keyturn.name}", tail)


def shape(data: Any) -> Any:
    """What kind of things stand where, without the things."""
    if isinstance(data, dict):
        return {key: shape(value) for key, value in data.items()}
    return [shape(item) for item in data] if isinstance(data, list) else type(data).__name__


def test_stored_data_of_a_decoy_looks_like_that_of_a_real_secret(pair: Pair) -> None:
    decoy, used = pair.seen(pair.decoy), pair.seen(pair.used)
    assert shape(decoy) == shape(used)
    assert "decoy" not in json.dumps(decoy, default=str).lower()
    ledger: Any = pair.opened.workspace.ledger
    entries = [parse_leaf(leaf).entry for _, leaf in ledger.leaves()]
    actions = [[entry.action for entry in entries if entry.secret == secret.path] for secret in (pair.decoy, pair.used)]
    assert actions[0] == actions[1]


@pytest.mark.parametrize("policies", [["root"], []], ids=["given", "refused"])
def test_reading_a_decoy_raises_an_alarm_unless_keyturn_does(pair: Pair, policies: list[str]) -> None:
    assert pair.alerts() == []
    pair.read(policies)
    (alert,) = pair.alerts()
    assert alert.level is Level.HIGH
    assert "decoy" in {factor.name for factor in alert.factors}


def test_a_decoy_does_not_age(pair: Pair) -> None:
    before = pair.lab.current(pair.decoy)
    rotate(pair.opened.workspace, pair.decoy.path, Trigger.FORCE)
    assert pair.lab.current(pair.decoy) != before
    assert pair.opened.sender.told == []


def test_a_secret_that_becomes_a_decoy_counts_at_once_for_log_reading(pair: Pair) -> None:
    before = pair.opened.workspace
    workspaces = [before]
    policies = CurrentPolicies(lambda: workspaces[-1])
    assert not policies().policy("approle app", pair.used.path).decoy
    after = pair.lab.open(pair.decoy, pair.used.having(decoy=True)).workspace
    workspaces.append(replace(before, catalogue=after.catalogue))
    assert policies().policy("approle app", pair.used.path).decoy
    assert not policies().policy(pair.own, pair.used.path).decoy
