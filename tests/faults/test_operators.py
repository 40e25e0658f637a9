"""Manual changes outside Keyturn are handled, or one command explains and repairs them.

Never is anything "proven" over a credential that logs in, and never is a dead value pushed over a living one.
"""

from pathlib import Path
from typing import Final

import pytest

import tests.faults.rows_emergency  # noqa: F401  adds its rows
from tests.crash.kinds import Kind
from tests.crash.site import Site
from tests.faults import rows_health, rows_ledger, rows_proof, rows_recipes, rows_stores  # noqa: F401  they add rows
from tests.faults.doings import DOINGS, RESTORED, SITUATIONS, Doing, Situation
from tests.faults.operators import STRATEGIES, Case
from tests.support.hooks import eventually
from tests.support.sampling import sample

pytestmark = pytest.mark.sampled(9, of="file", kinds="name")

ONE_IN: Final = 4
"""Of the kinds of secret of a row one in so many is tried."""


def rows(doings: list[Doing]) -> list[tuple[Doing, str]]:
    """Every doing, each with some of the kinds, in turn, so that all kinds occur."""
    return [
        (doing, name)
        for at, doing in enumerate(doings)
        for name in sample("operators", kinds_for(doing, at % len(STRATEGIES)), ONE_IN)
    ]


def kinds_for(doing: Doing, first: int) -> list[str]:
    """The kinds of secret for which it means something, from the ``first`` on and around."""
    return [name for name in (*STRATEGIES[first:], *STRATEGIES[:first]) if name not in doing.without]


def named(value: object) -> str:
    """A parameter's name."""
    return value.run.__name__ if isinstance(value, (Doing, Situation)) else str(value)


@pytest.mark.parametrize(("doing", "name"), rows(DOINGS), ids=named)
def test_what_somebody_does_is_right_or_is_said_and_mended(
    site: Site, kinds: dict[str, Kind], doing: Doing, name: str
) -> None:
    doing.run(Case.of(site, kinds[name]))


@pytest.mark.parametrize("row", SITUATIONS, ids=named)
def test_a_situation_is_right_or_is_reported_and_fixed(site: Site, row: Situation) -> None:
    row.run(site)


def test_the_tables_in_the_documents_have_these_rows_and_no_others() -> None:
    text = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
    tables = text.partition("## Manual changes and accidents")[2].partition("\n## ")[0]
    rows = [line.split(" | ")[0].removeprefix("| ") for line in tables.splitlines() if line.startswith("| ")]
    texts = [doing.text for doing in (*DOINGS, *RESTORED)] + [row.text for row in SITUATIONS]
    assert sorted(row for row in rows if row != "you") == sorted(texts)


def test_every_kind_of_secret_occurs_in_every_sample() -> None:
    assert {name for _, name in rows(DOINGS)} == set(STRATEGIES)


@pytest.fixture(scope="module")
def cases(site: Site, kinds: dict[str, Kind]) -> dict[str, Case]:
    """A case for each row: in force at version 2 when a snapshot was taken, at version 5 when that was restored."""
    made = {f"{doing.text} {name}": Case.of(site, kinds[name]) for doing, name in rows(RESTORED)}
    for case in made.values():
        assert case.rotate() == ""
    system = site.lab.root.sys
    snapshot = system.take_raft_snapshot().content
    for case in made.values():
        for _ in range(3):
            assert case.rotate(end_previous=True) == "", case.said
    system.force_restore_raft_snapshot(snapshot)
    # It answers before it has forgotten all that it had at hand.
    assert eventually(lambda: all(case.newest() == 2 for case in made.values()), 60)
    return made


@pytest.mark.parametrize(("doing", "name"), rows(RESTORED), ids=named)
def test_a_restored_hub_pushes_nothing_backwards_and_is_mended(cases: dict[str, Case], doing: Doing, name: str) -> None:
    case = cases[f"{doing.text} {name}"]
    assert case.newest() == 2
    served = case.copy()
    assert not case.kind.refuses or (case.lives(served) and not case.lives(case.current()))
    doing.run(case)
