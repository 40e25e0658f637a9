"""Compliance reports are reproducible, consistent in every format, and contain no secret."""

import csv
import io
import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from keyturn.evidence.formats import FORMATS, write_format
from keyturn.evidence.formats.html import page_problem, read_page
from keyturn.evidence.frameworks import FRAMEWORKS
from keyturn.evidence.report import report_name
from keyturn.evidence.tables import TABLES
from keyturn.evidence.verify import check_report, parse_report
from keyturn.ledger.checkpoints import read_checkpoint
from keyturn.ledger.proofs import prove_entry
from keyturn.providers.ledger.ed25519 import verify_ed25519
from tests.evidence.scene import API, DATABASE, UNTIL, House, done, house
from tests.revocation.test_report import Page

HOSTILE = "<script>alert(1)</script>\"'&\u202e\n=cmd|x"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_each_framework_gives_a_report_whose_every_row_holds(home: House, framework: str) -> None:
    document = home.report(framework)
    checked = check_report(parse_report(json.dumps(document).encode()), [home.key.public()], verify_ed25519)
    assert checked.problems == ()
    assert checked.proven == sum(row["kind"] == "entry" for row in document["rows"]) > 0
    assert sum(document["verdicts"].values()) == len(document["controls"])
    page = write_format("html", document)[1]
    text = Page(page).text
    for control in document["controls"]:
        assert f"{control['id']} {control['title']} {control['verdict']}" in text


def test_the_same_facts_give_the_same_bytes(tmp_path: Path) -> None:
    with house(tmp_path) as built:
        first = {name: write_format(name, built.report())[1] for name in FORMATS}
        checkpoint = built.facts.ledger.checkpoint
        # The ledger grows, and is signed again: what was asked about is as it was.
        built.ledger.append([done(UNTIL + timedelta(hours=10), "compliance report")])
        built.sign(UNTIL + timedelta(hours=11))
        assert read_checkpoint(built.ledger.newest()).size == built.facts.ledger.size + 1
        assert built.facts.ledger.checkpoint == checkpoint
        assert {name: write_format(name, built.report())[1] for name in FORMATS} == first


def test_the_page_carries_the_document_and_shows_it(home: House) -> None:
    document = home.report()
    page = write_format("html", document)[1].encode()
    assert read_page(page) == document
    assert page_problem(page, document) == ""
    parsed = Page(page.decode())
    assert parsed.tags.count("svg") == 3
    assert not {"script", "link", "img", "iframe"} & set(parsed.tags)
    assert "http" not in re.sub(r'data-report="[^"]*"', "", page.decode()).replace("http-equiv", "")


@pytest.mark.attack
def test_a_hostile_name_stays_text_everywhere(home: House) -> None:
    named = replace(home.facts.secrets[0], path=HOSTILE, owner=HOSTILE)
    hostile = home.report(secrets=(named, *home.facts.secrets[1:]), looked_by=HOSTILE)
    page = write_format("html", hostile)[1]
    parsed = Page(page)
    assert "script" not in parsed.tags
    assert "\u202e" not in page
    assert "alert(1)" in parsed.text
    for row in csv.reader(io.StringIO(write_format("csv", hostile)[1])):
        assert not any(cell.startswith(("=", "@")) for cell in row)
    assert "<script>" not in page


def test_a_report_holds_no_fingerprint_and_no_key(home: House) -> None:
    text = write_format("json", home.report())[1]
    assert not re.search(r"fingerprint[^-]", text)
    assert not {"value", "password", "fingerprint"} & {name for table in TABLES for name, _ in table.columns}


def test_the_csv_has_a_line_for_each_row_that_a_check_cites(home: House) -> None:
    document = home.report("pci")
    lines = list(csv.DictReader(io.StringIO(write_format("csv", document)[1])))
    checks = {check["name"]: check for check in document["checks"]}
    wanted = sum(1 + len(checks[name]["rows"]) for control in document["controls"] for name in control["checks"])
    assert len(lines) == wanted
    assert {line["control"] for line in lines} == {control["id"] for control in document["controls"]}


def test_every_table_shows_its_rows(home: House) -> None:
    document = home.report()
    kinds = {table["kind"] for table in document["tables"]}
    assert kinds == {table.kind for table in TABLES} - {"late"}
    late = home.report(secrets=tuple(replace(s, late="beyond its maximum age") for s in home.facts.secrets))
    assert [row["name"] for row in late["rows"] if row["kind"] == "late"] == [s.path for s in home.facts.secrets]


def test_what_a_scanner_says_is_answered_with_entries_that_are_proven(home: House) -> None:
    document = home.report("soc2")
    rows = {row["id"]: row for row in document["rows"]}
    check = next(check for check in document["checks"] if check["name"] == "cloud-scanner-explained")
    assert check["verdict"] == "pass"
    cells = rows["scanner:aws:ml-api-keys"]["cells"]
    assert cells["secret"] == API
    assert cells["answer"].startswith("false: rotated from outside AWS")
    for number in cells["entries"].split(", "):
        assert f"entry:{number}" in check["rows"]
        assert json.loads(rows[f"entry:{number}"]["entry"])["action"] in ("promote", "push")


def test_an_owners_report_is_called_otherwise_and_holds_their_secrets_alone(home: House) -> None:
    owner = "partners@example.com"
    owned = tuple(secret for secret in home.facts.secrets if secret.owner == owner)
    document = home.report(owner=owner, secrets=owned, copies=(), unmanaged=(), keys=(), glass=())
    assert report_name(document) != report_name(home.report())
    assert report_name(home.report()) == "fedramp-ksi-20260101-20260331"
    assert DATABASE not in {row["name"] for row in document["rows"] if row["kind"] == "secret"}


@pytest.mark.parametrize("entry", [1, 30, 72])
def test_an_entry_is_proven_in_the_checkpoint_that_is_named(tmp_path: Path, entry: int) -> None:
    with house(tmp_path) as built:
        built.ledger.append([done(UNTIL, "sync")] * 50)
        before = prove_entry(built.ledger, entry, built.facts.ledger.checkpoint)
        built.sign(UNTIL + timedelta(hours=1))
        assert prove_entry(built.ledger, entry, built.facts.ledger.checkpoint) == before
        assert prove_entry(built.ledger, entry) != before
