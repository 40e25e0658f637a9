"""Somebody seals the hub in the middle of a rotation, and it is unsealed later."""

import pytest
from hvac.exceptions import InvalidRequest

from keyturn.core.errors import Unavailable
from keyturn.core.rotation_record import Record
from keyturn.core.schedule.due import Trigger
from keyturn.providers.vault.client import from_vault
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from tests.faults.outcome import assert_healed, assert_never_refused
from tests.faults.servers import DurableHub
from tests.rotation.helpers import with_copy, worker
from tests.support.application import Patient
from tests.support.hooks import Once
from tests.support.lab import load_whole

pytestmark = pytest.mark.sampled(4, of="file")

SEALED = "the hub is sealed or not active. Unseal it, or wait for the fail-over"

BEFORE = {
    "the candidate is staged": ("hub", "write_state"),
    "it is installed": ("strategy", "install"),
    "it is verified": ("strategy", "verify"),
    "it is promoted": ("hub", "write"),
    "the record says that it is promoted": ("hub", "patch_metadata"),
}
"""The call before which the hub is sealed."""


@pytest.mark.parametrize("step", BEFORE)
def test_a_hub_that_is_sealed_stops_the_run_there_and_the_next_one_goes_on(durable_hub: DurableHub, step: str) -> None:
    lab = durable_hub.lab
    what, call = BEFORE[step]
    secret = lab.alternating()
    run = worker(lab, secret)
    lab.hub.fingerprint_keys()
    with Patient(lab.hub, secret.path, lab.logs_in) as client:
        with pytest.raises(Unavailable, match=SEALED):
            rotate(run.hooking(what, **{call: Once(durable_hub.seal)}).workspace, secret.path, Trigger.FORCE)
        with pytest.raises(Unavailable, match=SEALED):
            rotate(run.workspace, secret.path, Trigger.FORCE)
        durable_hub.unseal()
        waiting = load_whole(run.workspace, secret.path)
        assert (waiting == Record()) == (call == "write_state")
        if waiting == Record():
            rotate(run.workspace, secret.path, Trigger.FORCE)
        assert_healed(lab, run.workspace, secret, waiting.candidate)
    assert_never_refused(client)


def test_a_hub_that_is_sealed_after_the_promotion_leaves_copies_to_the_next_run(durable_hub: DurableHub) -> None:
    lab = durable_hub.lab
    secret = with_copy(lab.alternating())
    opened = lab.open(secret)
    run = worker(lab, secret, stores=lambda name: opened.store)
    run.promoted()
    with Patient(lab.hub, secret.path, lab.logs_in) as client:
        durable_hub.seal()
        for told in (lambda: rotate(run.workspace, secret.path), lambda: retire(run.workspace, secret.path)):
            with pytest.raises(Unavailable, match=SEALED):
                told()
        durable_hub.unseal()
        assert opened.store.writes == 0
        assert_healed(lab, run.workspace, secret)
        assert opened.store.writes == 1
    assert_never_refused(client)


def test_a_mount_that_is_being_upgraded_is_waited_for() -> None:
    """The hub says so with the status of a malformed request; it is too quick to be caught at it."""
    words = "Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period"
    error = from_vault(InvalidRequest(errors=[words]), "write", "a/b", "secret/data/a/b")
    assert isinstance(error, Unavailable)
    assert str(error) == "write a/b: the hub is still preparing the mount. It is tried again by itself"
