"""A password mistakenly entered as a username reaches neither Prefect nor the ledger."""

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.retire import retire
from flows.rotate import rotate_secret
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from local.leak_scan import scan
from tests.flows.runs import ended
from tests.flows.site import Site
from tests.support.lab import Lab
from tests.support.prefect_server import PrefectServer, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.sampled(37, of="files")]


def test_a_password_in_the_username_reaches_no_run(
    build: Callable[..., Site], lab: Lab, prefect: PrefectServer, tmp_path: Path
) -> None:
    secret, canary = lab.alternating(), f"hunter2-{secrets.token_urlsafe(12)}"
    build(secret)
    first = SecretFields(secret.first)
    lab.hub.write(secret.path, first.merged({"username": canary}), cas=1)
    rotated = ended(rotate_secret, secret.path, Trigger.FORCE)
    assert rotated.is_failed()
    assert "the secret names (not shown, fingerprint " in (rotated.message or "")
    told = [rotated, ended(retire, secret.path)]
    assert [state for state in told if canary in repr(state)] == []

    def arrived() -> bool:
        prefect.write_all(tmp_path)
        return any("the secret names (not shown" in file.read_text() for file in tmp_path.iterdir())

    wait_for(arrived)
    assert scan([prefect.directory, tmp_path], {"username": canary}) == []
