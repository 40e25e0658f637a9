"""Which catalogue a run works with: all of it, or for revocations what loads of a broken one."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows import keeper
from flows.support.starting import FINISHER, Wanted
from keyturn.catalogue import CatalogueInvalid
from keyturn.revocation.incidents import store as incident_store
from keyturn.revocation.incidents.incident import Incident, Mode
from tasks.revocation import lenient_workspace, revoking_workspace
from tasks.workspace import current_workspace, lenient, opened
from tests.cli.command import CATALOGUE
from tests.support.lab import Lab, fresh


@pytest.fixture
def broken(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process's catalogue has a sound file and one that can't be parsed."""
    (tmp_path / "all.yaml").write_text(CATALOGUE)
    (tmp_path / "broken.yaml").write_text("stores: [\n")
    monkeypatch.setenv("KEYTURN_CATALOGUE", str(tmp_path))
    monkeypatch.setenv("VAULT_ADDR", lab.world.hub_address)
    monkeypatch.setenv("VAULT_TOKEN", lab.world.hub_token)
    if lab.world.hub_ca:
        monkeypatch.setenv("VAULT_CACERT", lab.world.hub_ca)
    opened.cache_clear()
    yield
    opened.cache_clear()


def test_a_run_that_revokes_works_with_what_loads_and_every_other_run_is_refused(broken: None) -> None:
    assert set(revoking_workspace().catalogue.secrets) == {"a/b"}
    with pytest.raises(CatalogueInvalid):
        current_workspace()
    token = lenient.set(True)
    try:
        assert len(current_workspace().catalogue.left_out) == 1
    finally:
        lenient.reset(token)


def test_the_keeper_starts_what_an_open_incident_needs_although_the_catalogue_is_broken(
    broken: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for: list[Wanted] = []

    async def start(wanted: Wanted, by: str) -> bool:
        asked_for.append(wanted)
        return True

    monkeypatch.setattr(keeper, "start_run", start)
    now = datetime.now(UTC)
    incident = Incident(f"INC-{fresh()}", "a test", Mode.REPLACE, "", "somebody", now, now, ())
    incident_store.create_incident(lenient_workspace(), incident)
    asyncio.run(keeper.start_incidents(None))
    assert asked_for == [Wanted(FINISHER)]
