"""A rehearsal through Prefect is recorded, and a missed objective is reported."""

import asyncio
import time
from collections.abc import Callable

import pytest

from flows.rehearse import rehearse
from flows.support.duties import rehearsals
from keyturn.core.sensitive import Sensitive
from keyturn.providers.postgresql.target import PostgreSQL
from keyturn.revocation.objectives.record import load_rehearsals
from keyturn.revocation.objectives.rehearsing import shadow_name
from local.pager import Pager
from tests.flows.runs import Installed, ended
from tests.flows.site import Site
from tests.support.lab import Lab
from tests.support.prefect_server import wait_for

REAL = PostgreSQL.accepts

pytestmark = [pytest.mark.slow, pytest.mark.sampled(19, of="files")]


def test_the_due_secrets_are_rehearsed_and_a_missed_objective_is_reported(
    installed: Installed, build: Callable[..., Site], lab: Lab, pager: Pager, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick, slow = lab.alternating(dead_within="10m"), lab.alternating(dead_within="1s")
    site = build(quick, slow, lab.alternating())
    name, began = shadow_name(site.workspace, slow.path), list[float]()

    def accepts(target: PostgreSQL, account: str, password: Sensitive) -> bool:
        """A target that takes two seconds to refuse the account of one of them."""
        began.extend([time.monotonic()] if account == name else [])
        return (account == name and time.monotonic() - began[0] < 2) or REAL(target, account, password)

    monkeypatch.setattr(PostgreSQL, "accepts", accepts)
    assert [wanted.flow for wanted in asyncio.run(rehearsals(site.workspace))] == ["rehearse"]
    state = ended(rehearse)
    assert (state.is_completed(), state.message) == (True, "2 of 2 rehearsed")
    rows = {row["secret"]: row["result"] for row in installed.rows(str(state.state_details.flow_run_id))}
    assert rows.keys() == {quick.path, slow.path}
    assert all(words.startswith("refused after ") for words in rows.values())
    (result,) = load_rehearsals(site.workspace, quick.path)[0].results
    assert result.words == rows[quick.path]
    subject = f"Keyturn: {slow.path} does not meet its objective of a revocation\n"
    said = wait_for(lambda: next((m for m in pager.messages if m.startswith(subject)), None))
    assert "and the objective is 1s" in said
    assert not [message for message in pager.messages if message.startswith(f"Keyturn: {quick.path} ")]
    assert asyncio.run(rehearsals(site.workspace)) == []
    assert ended(rehearse).message == "nothing was due"
