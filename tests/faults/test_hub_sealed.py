"""Somebody seals the hub in the middle of a rotation, and it is unsealed later."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest

from keyturn.core.errors import Unavailable
from keyturn.core.policy import Trigger
from keyturn.core.record import Record
from keyturn.providers.vault import VaultHub
from keyturn.providers.vault_login import HubSettings
from keyturn.rotation.records import load
from keyturn.rotation.run import rotate
from keyturn.rotation.settle import retire
from tests.faults.outcome import assert_healed, assert_never_refused
from tests.faults.servers import DurableHub
from tests.rotation.helpers import with_copy, worker
from tests.support.application import Patient
from tests.support.hooks import Once, eventually
from tests.support.lab import fresh
from tests.support.world import TOKEN_VARIABLE

SEALED = "the hub is sealed or not active. Unseal it, or wait for the fail-over"

MANY = 200
"""Secrets in a mount, so that it takes the hub a while to give them versions."""

BEFORE = {
    "the candidate is staged": ("hub", "write_state"),
    "it is installed": ("strategy", "install"),
    "it is verified": ("strategy", "verify"),
    "it is promoted": ("hub", "write"),
    "the record says that it is promoted": ("hub", "annotate"),
}
"""The call before which the hub is sealed."""


@pytest.mark.parametrize("step", BEFORE)
def test_a_hub_that_is_sealed_stops_the_run_there_and_the_next_one_goes_on(durable_hub: DurableHub, step: str) -> None:
    lab = durable_hub.lab
    what, call = BEFORE[step]
    secret = lab.alternating()
    run = worker(lab, secret)
    lab.hub.fingerprint_key()
    with Patient(lab.hub, secret.path, lab.logs_in) as client:
        with pytest.raises(Unavailable, match=SEALED):
            rotate(run.hooking(what, **{call: Once(durable_hub.seal)}).keyturn, secret.path, Trigger.FORCE)
        with pytest.raises(Unavailable, match=SEALED):
            rotate(run.keyturn, secret.path, Trigger.FORCE)
        durable_hub.unseal()
        waiting = load(run.keyturn, secret.path)
        assert (waiting == Record()) == (call == "write_state")
        if waiting == Record():
            rotate(run.keyturn, secret.path, Trigger.FORCE)
        assert_healed(lab, run.keyturn, secret, waiting.candidate)
    assert_never_refused(client)


def test_a_hub_that_is_sealed_after_the_promotion_leaves_copies_to_the_next_run(durable_hub: DurableHub) -> None:
    lab = durable_hub.lab
    secret = with_copy(lab.alternating())
    opened = lab.open(secret)
    run = worker(lab, secret, stores=lambda name: opened.store)
    run.promoted()
    with Patient(lab.hub, secret.path, lab.logs_in) as client:
        durable_hub.seal()
        for told in (lambda: rotate(run.keyturn, secret.path), lambda: retire(run.keyturn, secret.path)):
            with pytest.raises(Unavailable, match=SEALED):
                told()
        durable_hub.unseal()
        assert opened.store.writes == 0
        assert_healed(lab, run.keyturn, secret)
        assert opened.store.writes == 1
    assert_never_refused(client)


def test_a_mount_that_is_being_upgraded_is_waited_for(durable_hub: DurableHub) -> None:
    root, mount, said, over = durable_hub.lab.root, fresh(), set[str](), threading.Event()
    root.sys.enable_secrets_engine("kv", path=mount, options={"version": "1"})
    for number in range(MANY):
        root.secrets.kv.v1.create_or_update_secret(str(number), {"a": "b"}, mount_point=mount)
    settings = HubSettings(durable_hub.server.address, mount=mount, token_env=TOKEN_VARIABLE)
    with closing(VaultHub(settings)) as hub, ThreadPoolExecutor() as pool:
        asking = pool.submit(ask, hub, over, said)
        root.sys.tune_mount_configuration(mount, options={"version": "2"})
        assert eventually(lambda: described(hub))
        over.set()
        asking.result()
    assert said == {"read a: the hub is still preparing the mount. It is tried again by itself"}


def ask(hub: VaultHub, over: threading.Event, said: set[str]) -> None:
    """Ask for a secret that is not there, over and over; ``said`` learns why that can't be told."""
    while not over.is_set():
        try:
            hub.describe("a")
        except Unavailable as error:
            said.add(str(error))


def described(hub: VaultHub) -> bool:
    """Whether what was there has been given versions."""
    with suppress(Unavailable):
        return hub.describe("0") is not None
    return False
