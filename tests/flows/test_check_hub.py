"""The daily look at the hub's set-up through Prefect: what is not as declared is a row, and fails the run."""

from collections.abc import Callable

import pytest

from flows.check_hub import check_hub
from tests.flows.runs import Installed, ended
from tests.flows.site import Site
from tests.support.lab import Lab, fresh

pytestmark = [pytest.mark.slow, pytest.mark.sampled(37, of="files")]


def test_what_is_not_as_declared_is_a_row_and_fails_the_run(
    installed: Installed, build: Callable[..., Site], lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYTURN_HUB_AUTH", "token")
    monkeypatch.setenv("VAULT_TOKEN", lab.world.hub_token)
    quota = fresh()
    build(lab.generated(), set_up={quota: {"kind": "rate-limit", "path": "secret", "rate": 1000}})
    failed = ended(check_hub)
    assert failed.is_failed()
    assert f"create rate-limit:{quota}" in str(failed.message)
    rows = installed.rows(str(failed.state_details.flow_run_id))
    assert f"create rate-limit:{quota}" in {row["in the hub"] for row in rows}
    assert all(row["seen"] == "yes" for row in rows)
