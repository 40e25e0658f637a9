"""Ledger extracts contain one period and one owner's secrets, unchanged."""

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from keyturn.core.errors import NotFound
from keyturn.evidence.checks import CHECKS
from keyturn.evidence.facts import LedgerExtract, Period
from keyturn.evidence.frameworks import FRAMEWORKS
from keyturn.evidence.ledger_extract import extract_ledger, promotions
from keyturn.evidence.model import ControlVerdict
from keyturn.evidence.report import build_report
from keyturn.providers.ledger.ed25519 import verify_ed25519
from keyturn.providers.ledger.sqlite import SqliteLedger
from tests.evidence.scene import API, DATABASE, PERIOD, SINCE, UNTIL, House, HubOfKeys, done, house
from tests.ledger.keys import ORIGIN, Key


def extracted(built: House, period: Period = PERIOD, secrets: frozenset[str] | None = None) -> LedgerExtract:
    """What its ledger tells."""
    return extract_ledger(built.ledger, HubOfKeys(built.key), verify_ed25519, period, secrets)  # type: ignore[arg-type]


def test_a_period_has_its_own_entries_and_the_promotions_before_it(home: House) -> None:
    week = Period(SINCE + timedelta(days=7), SINCE + timedelta(days=14))
    extract = extracted(home, week)
    assert extract.entries == 7
    assert [mark.version for mark in promotions(extract, DATABASE)] == [3, 4]
    assert [mark.version for mark in promotions(extract, API)] == [9, 10]
    assert extract.count("promote") == 2
    assert set(extract.pushes) == {(API, "aws:ml-api-keys"), (DATABASE, "aws:ml-database-credentials")}


def test_an_owner_is_told_of_no_other_secret_and_of_no_other_incident(home: House) -> None:
    database = extracted(home, secrets=frozenset({DATABASE}))
    assert {mark.secret for mark in database.marks} <= {DATABASE, ""}
    assert not database.having("open incident")
    assert len(extracted(home, secrets=frozenset({API})).having("close incident")) == 1


def test_what_came_after_the_checkpoint_is_counted_and_not_used(tmp_path: Path) -> None:
    with house(tmp_path) as built:
        built.ledger.append([done(UNTIL - timedelta(hours=1), "promote", DATABASE, 99)])
        extract = extracted(built)
        assert (extract.later, extract.size) == (1, 73)
        assert 99 not in {mark.version for mark in extract.marks}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET entry = replace(entry, 'laptop', 'worker-1')",
        "DELETE FROM entries WHERE sequence = 30",
        "UPDATE entries SET entry = 'nothing' WHERE sequence = 30",
    ],
)
@pytest.mark.attack
def test_a_changed_ledger_fails_and_says_so(tmp_path: Path, statement: str) -> None:
    with house(tmp_path) as built:
        with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection, connection:
            connection.execute(statement)
        extract = extracted(built)
        assert extract.problems
        changed = built.facts.__class__(**{**vars(built.facts), "ledger": extract})
        assert CHECKS["ledger-whole"](changed).verdict is ControlVerdict.FAIL
        document = build_report(changed, FRAMEWORKS["soc2"], built.prove)
        assert not [row for row in document["rows"] if row["kind"] == "entry"]
        verdicts = {check["name"]: check["verdict"] for check in document["checks"]}
        assert verdicts["rotation-in-time"] == "could not be looked at"


def test_a_ledger_that_another_key_has_signed_is_not_believed(tmp_path: Path) -> None:
    with house(tmp_path) as built:
        stranger = HubOfKeys(Key())
        extract = extract_ledger(built.ledger, stranger, verify_ed25519, PERIOD, None)  # type: ignore[arg-type]
        assert "was not made by this ledger's key" in extract.problems[0]


def test_without_a_checkpoint_nothing_can_be_proven(tmp_path: Path) -> None:
    with closing(SqliteLedger(tmp_path / "ledger.db", ORIGIN, patience=5)) as ledger:
        ledger.append([done(SINCE, "promote", DATABASE, 1)])
        with pytest.raises(NotFound, match="no checkpoint is made over it"):
            extract_ledger(ledger, HubOfKeys(Key()), verify_ed25519, PERIOD, None)  # type: ignore[arg-type]
