"""Keyturn's own keys through Prefect: a step of each that is due is a row, and one that fails stops no other."""

import secrets
from collections.abc import Callable
from functools import partial

import pytest

from flows.rotate_own_keys import rotate_own_keys
from keyturn.core.webhook_keys import generate_webhook_key
from tests.flows.runs import Installed, ended
from tests.flows.site import Site
from tests.support.lab import Lab

pytestmark = [pytest.mark.slow, pytest.mark.sampled(1, of="file")]


def test_each_key_that_is_due_takes_its_next_step_and_is_a_row(
    installed: Installed, build: Callable[..., Site], lab: Lab
) -> None:
    due, lost = (f"webhooks/{name}/{secrets.token_hex(4)}" for name in ("due", "lost"))
    key = generate_webhook_key().reveal()
    lab.keep(due, {"key": key})
    consumers = {
        name: {"url": "http://127.0.0.1:9", "signing_key": path} for name, path in (("due", due), ("lost", lost))
    }
    build(lab.generated(), consumers=consumers)
    state = ended(partial(rotate_own_keys, due, now=True))
    assert state.is_completed()
    assert str(state.message).startswith(f"{due}: a new key was added next to the old one")
    entry = lab.hub.read_state(due)
    assert entry is not None
    assert (entry.data["key"], entry.data["next"].startswith("whsec_")) == (key, True)
    (row,) = installed.rows(str(state.state_details.flow_run_id))
    assert (row["key"], row["state"]) == (due, "replaced")
    assert ended(partial(rotate_own_keys, due)).message == "nothing was due"

    failed = ended(rotate_own_keys)
    assert failed.is_failed()
    assert f"replace {lost}: " in str(failed.message)
    (row,) = installed.rows(str(failed.state_details.flow_run_id))
    assert (row["key"], row["state"]) == (lost, "failed")
