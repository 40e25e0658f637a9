"""Authorities through Prefect: the flow makes and renews what is due where its login may."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.renew_authorities import renew_authorities
from tests.flows.runs import Installed, ended
from tests.flows.site import Site
from tests.support.lab import Lab, fresh

pytestmark = [pytest.mark.slow, pytest.mark.sampled(37, of="files")]


def test_what_is_due_is_a_row_and_is_done_once(
    installed: Installed, build: Callable[..., Site], lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = fresh()
    lab.root.sys.enable_secrets_engine("pki", path=mount, config={"max_lease_ttl": "87600h"})
    token = tmp_path / "token"
    token.write_text(lab.world.hub_token)
    monkeypatch.setenv("KEYTURN_HUB_TOKEN_FILE", str(token))
    build(lab.generated(), pki={"root": {"mount": mount, "common_name": "Test Root", "ttl": "3650d"}})
    state = ended(renew_authorities)
    assert state.is_completed()
    assert f"new issuer: {mount}/keyturn-1" in str(state.message)
    (row,) = installed.rows(str(state.state_details.flow_run_id))
    assert (row["key"], row["state"]) == ("root", "done")
    assert "nothing was due" in str(ended(renew_authorities).message)
