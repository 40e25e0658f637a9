"""Managed keys through Prefect: each that is due is a row, and one that can't be looked at stops no other."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from flows.rotate_keys import rotate_keys
from tests.flows.runs import Installed, ended
from tests.flows.site import Site
from tests.support.lab import Lab, fresh

pytestmark = [pytest.mark.slow, pytest.mark.sampled(1, of="file")]


def test_each_key_that_is_due_is_a_row_and_what_is_wrong_with_one_fails_the_run(
    installed: Installed, build: Callable[..., Site], lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, gone = fresh(), fresh()
    lab.root.secrets.transit.create_key(key)
    token = tmp_path / "token"
    token.write_text(lab.world.hub_token)
    monkeypatch.setenv("KEYTURN_HUB_TOKEN_FILE", str(token))
    build(lab.generated(), keys={name: {"kind": "transit", "key": name, "interval": "30d"} for name in (key, gone)})
    state = ended(partial(rotate_keys, key, now=True))
    assert state.is_completed()
    assert "generation 2 is in use" in str(state.message)
    (row,) = installed.rows(str(state.state_details.flow_run_id))
    assert (row["key"], row["state"]) == (key, "done")

    failed = ended(rotate_keys)
    assert failed.is_failed()
    assert f"rotate {gone}: " in str(failed.message)
    assert "the hub has no such key" in str(failed.message)
    assert len(lab.root.secrets.transit.read_key(key)["data"]["keys"]) == 2
