"""The access flow grants approved requests with the granter's login alone."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from prefect import State

from flows.grant_access import grant_access
from keyturn.rotation.state.grant_store import GrantStage
from tests.flows.runs import Installed, ended
from tests.flows.site import Site as FlowSite
from tests.support.access import lay_out
from tests.support.given import GivenSite, given_site, people_with_least_rights, reader_role
from tests.support.lab import Lab

pytestmark = [pytest.mark.slow, pytest.mark.sampled(4, of="file")]

Round = Callable[..., State]


@pytest.fixture
def site(lab: Lab) -> GivenSite:
    return given_site(lab, people_with_least_rights(lab), reader_role(lab))


@pytest.fixture
def run(
    site: GivenSite,
    installed: Installed,
    build: Callable[..., FlowSite],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Round:
    """Runs the flow as the granter, which has no other rights."""
    token = tmp_path / "token"
    token.write_text(site.access.people["granter"].token())
    token.chmod(0o600)
    monkeypatch.setenv("KEYTURN_HUB_TOKEN_FILE", str(token))
    build()
    lay_out(site.access, tmp_path, monkeypatch)
    return lambda *arguments: ended(partial(grant_access, *arguments))


def rows_of(installed: Installed, state: State) -> dict[str, tuple[str, str]]:
    """The rows of its table, by requests."""
    return {row["request"]: (row["state"], row["what"]) for row in installed.rows(str(state.state_details.flow_run_id))}


@pytest.mark.attack
def test_one_run_grants_approved_requests_and_lists_pending_ones(
    site: GivenSite, installed: Installed, run: Round
) -> None:
    waiting, approved = site.ask(), site.approved()
    state = run()
    rows = rows_of(installed, state)
    grant = site.grant_of(approved)
    assert grant is not None
    assert grant.stage == GrantStage.ACTIVE
    assert rows[approved.id] == ("given", f"until {grant.ends_at}")
    assert rows[waiting.id][0] == "waits"
    assert f"keyturn access approve {waiting.id}" in rows[waiting.id][1]
    assert site.grant_of(waiting) is None
    opened = site.open(approved.id)
    shown = json.dumps(rows) + str(state.message)
    assert not [value for value in opened.fields.reveal().values() if str(value) in shown]


def test_of_one_that_is_named_it_says_why_it_is_not_given(site: GivenSite, run: Round) -> None:
    waiting, approved = site.ask(), site.approved()
    refused = run(waiting.id)
    assert refused.is_failed()
    assert f"give {waiting.id}: it waits for approvals" in str(refused.message)
    assert site.grant_of(approved) is None
    assert run(approved.id).is_completed()
    again = run(approved.id)
    assert again.is_failed()
    assert f"give {approved.id}: it is active" in str(again.message)
