"""A rotation while the hub's disk is full, and after space was freed."""

import pytest

from keyturn.core.errors import Unavailable
from keyturn.core.rotation_record import Record
from keyturn.core.schedule.due import Trigger
from keyturn.rotation.run import rotate
from tests.faults.outcome import assert_healed, assert_never_refused
from tests.faults.servers import DurableHub
from tests.rotation.helpers import worker
from tests.support.application import Patient
from tests.support.hooks import Once, eventually
from tests.support.lab import Lab, fresh, load_whole

pytestmark = pytest.mark.sampled(4, of="file")

FULL = "the hub failed inside. See the hub's own log"


def takes_writes(lab: Lab) -> bool:
    """Whether the hub can write again; a moment after there is room it may fail once more."""
    try:
        lab.hub.write_state(f"faults/{fresh()}", {}, cas=0)
    except Unavailable:
        return False
    return True


@pytest.mark.parametrize("call", ["write_state", "write"])
@pytest.mark.parametrize("way", ["full", "limited"])
def test_a_full_disk_leads_to_the_hubs_own_log_and_room_heals(durable_hub: DurableHub, way: str, call: str) -> None:
    lab = durable_hub.lab
    if way == "full" and not durable_hub.disk.mounted:
        way = "limited"  # the same calls fail there, with another error
    secret = lab.alternating()
    run = worker(lab, secret)
    lab.hub.fingerprint_keys()
    with Patient(lab.hub, secret.path, lab.logs_in) as client:
        full = run.hooking("hub", **{call: Once(lambda: durable_hub.fill(way))})
        with pytest.raises(Unavailable, match=FULL):
            rotate(full.workspace, secret.path, Trigger.FORCE)
        with pytest.raises(Unavailable, match=FULL):
            rotate(run.workspace, secret.path, Trigger.FORCE)
        durable_hub.free()
        assert eventually(lambda: takes_writes(lab))
        waiting = load_whole(run.workspace, secret.path)
        if waiting == Record():
            assert lab.current(secret) == secret.first
            rotate(run.workspace, secret.path, Trigger.FORCE)
        assert_healed(lab, run.workspace, secret, waiting.candidate)
    assert_never_refused(client)
