"""Eight processes, one secret that is due, and one rotation."""

from datetime import UTC, datetime, timedelta

import pytest

from keyturn.core.rotation_record import Stage
from keyturn.rotation.outcome import RunState
from tests.rotation.helpers import worker
from tests.support.application import Application
from tests.support.crash_child import Job, Zygote
from tests.support.lab import Declared, Lab, catalogue_data
from tests.support.world import REGION

pytestmark = pytest.mark.sampled(9, of="file")

PROCESSES = 8
ROUNDS = 4
LEFT = {RunState.HELD, RunState.NOT_DUE, RunState.SETTLED}
"""What the others say: it is at work, it was done a moment ago, or it was done and they checked the copies."""


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", ["alternating", "dynamic", "generated"])
def test_of_eight_processes_that_start_at_once_one_rotates_and_the_others_leave(lab: Lab, kind: str) -> None:
    now = datetime.now(UTC) + timedelta(days=31)
    with Zygote(lab.world) as zygote:
        for turn in range(ROUNDS):
            secret, retires = getattr(lab, kind)(), bool(turn % 2)
            data = catalogue_data(lab.world, (secret,), {"kind": "aws-secrets-manager", "region": REGION}, {})
            job = Job(secret.path, data, now.isoformat(), retires=retires, watched=False)
            works = bool if kind == "generated" else lab.logs_in
            with Application(lab.hub, secret.path, works) as client:
                ended = zygote.race([job] * PROCESSES)
            assert (client.failures, client.error) == ([], None)
            assert [one.error for one in ended if one.error] == []
            states = [RunState(one.state) for one in ended]
            assert states.count(RunState.ROTATED) == 1
            assert set(states) - {RunState.ROTATED} <= LEFT
            assert_rotated_once(lab, secret, retires)


def assert_rotated_once(lab: Lab, secret: Declared, retires: bool) -> None:
    record, info = worker(lab, secret).record(), lab.hub.describe(secret.path)
    assert info is not None
    assert info.version == 2
    promoted = record.history if retires else [record.retiring]
    assert [(one and one.stage, one and one.sequence) for one in promoted] == [
        (Stage.RETIRED if retires else Stage.PROMOTED, 1)
    ]
    if secret.role:
        assert len(lab.database.leases(secret.role)) == 2 - retires
