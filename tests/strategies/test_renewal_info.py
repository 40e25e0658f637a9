"""A certificate whose authority suggests a renewal, through the hub: asked now and then, renewed when it says."""

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keyturn.catalogue import Catalogue
from keyturn.core.ports.hub import RENEW_AT
from keyturn.core.schedule.due import Trigger
from keyturn.rotation.decide import decide
from keyturn.rotation.renewal_info import ask_for_renewals
from keyturn.rotation.run import rotate
from keyturn.wiring.registry import open_workspace
from tests.support.clock import Clock
from tests.support.lab import Declared, Lab, catalogue_data, fresh
from tests.support.pki import Pki
from tests.support.renewal_info import acme_server
from tests.support.sender import RecordingSender
from tests.support.world import REGION

DAY = timedelta(days=1)


def test_a_certificate_is_renewed_when_its_authority_says_and_the_next_one_is_asked_about_anew(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotation = {"strategy": "certificate", "role": Pki(lab, tmp_path).role(), "common_name": "www.internal"}
    rotation |= {"ttl": "47d", "grace": "1h"}
    data = {"owner": "tests@example.com", "classification": "internal"}
    declared = Declared(f"tests/{fresh()}", {**data, "rotation": {**rotation, "renewal_info": True}}, {})
    store = {"kind": "aws-secrets-manager", "region": REGION}
    catalogue = Catalogue.model_validate(catalogue_data(lab.world, (declared,), store, {}))
    path, clock = declared.path, Clock()
    with acme_server() as server:
        monkeypatch.setenv("KEYTURN_RENEWAL_INFO", server.directory)
        workspace = open_workspace(catalogue, lab.hub)
        workspace = dataclasses.replace(workspace, clock=clock, hub_clock=clock, sender=RecordingSender())
        assert ask_for_renewals(workspace, [path]) == {}
        rotate(workspace, path)
        server.status = 500
        assert "it answered 500" in ask_for_renewals(workspace, [path])[path]
        clock.advance(timedelta(hours=5))
        server.status = 200
        assert ask_for_renewals(workspace, [path]) == {}
        assert server.asked == []
        clock.advance(timedelta(hours=2))
        server.suggest(clock() + 3 * DAY, clock() + 3 * DAY + timedelta(hours=1))
        assert ask_for_renewals(workspace, [path]) == {}
        (asked,) = server.asked
        assert decide(workspace, path, Trigger.SCHEDULE).reason is None
        clock.advance(3 * DAY + timedelta(hours=1))
        reason = decide(workspace, path, Trigger.SCHEDULE).reason
        assert reason is not None
        assert (reason.code, "as its authority suggests" in reason.message) == ("Expiring", True)
        rotate(workspace, path)
        assert decide(workspace, path, Trigger.SCHEDULE).reason is None
        server.suggest(datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC))
        ask_for_renewals(workspace, [path])
        assert server.asked[0] == asked
        assert server.asked[1] != asked
        assert decide(workspace, path, Trigger.SCHEDULE).reason is None
        info = lab.hub.describe(path)
        assert info is not None
        assert info.asked(RENEW_AT) is not None
