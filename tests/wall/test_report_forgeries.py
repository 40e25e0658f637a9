"""`keyturn report verify` detects and names each change of a compliance report, offline."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from keyturn.cli.app import app
from keyturn.evidence.formats import write_format
from keyturn.evidence.formats.html import CARRIED
from keyturn.evidence.report import ACTION, Document, canonical, data_digest, digest_note
from keyturn.ledger.proofs import prove_entry
from tests.evidence.scene import DATABASE, UNTIL, House, done, house
from tests.ledger.keys import Key

pytestmark = pytest.mark.sampled(3, of="file")

runner = CliRunner()
OWN = 74
"""The number of the ledger's entry of the report."""


@dataclass
class Desk:
    """A report on somebody's disk, with the ledger's public key and nothing else."""

    built: House
    directory: Path
    document: Document

    def write(self, form: str, document: Document) -> Path:
        """A report as a file."""
        file = self.directory / f"report.{form}"
        file.write_text(write_format(form, document)[1])
        return file

    def verify(self, file: Path, *more: str, key: str = "", code: int = 0) -> Result:
        """As an auditor verifies it."""
        public = key or str(self.built.key.public())
        result = runner.invoke(app, ["report", "verify", str(file), "--public-key", public, *more])
        assert result.exit_code == code, result.output
        return result

    def entry(self, note: str = "", action: str = ACTION) -> Path:
        """The proof of the ledger's entry of the report, or of one with another note."""
        file = self.directory / "entry.json"
        file.write_text(prove_entry(self.built.ledger, OWN).to_json())
        return file


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, Document]]:
    """A house, and a report of it that its ledger tells of."""
    with house(tmp_path_factory.mktemp("house")) as built:
        document = built.report()
        built.ledger.append([done(UNTIL + timedelta(hours=10), ACTION, note=digest_note(document))])
        built.sign(UNTIL + timedelta(hours=10))
        yield built, document


@pytest.fixture
def desk(reported: tuple[House, Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """The report on a disk of its own. No hub is there to be asked."""
    for name in ("VAULT_ADDR", "VAULT_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "no-stack"))
    monkeypatch.setenv("COLUMNS", "200")
    return Desk(reported[0], tmp_path, deepcopy(reported[1]))


def sealed(document: Document) -> Document:
    """The document with all digests made anew, as who forges one would."""
    for row in document["rows"]:
        row["digest"] = data_digest({name: member for name, member in row.items() if name != "digest"})
    plain = {name: member for name, member in document.items() if name != "digest"}
    return {**document, "digest": data_digest(plain)}


def row(document: Document, name: str) -> dict[str, Any]:
    """A row by its id."""
    found: dict[str, Any] = next(row for row in document["rows"] if row["id"] == name)
    return found


def test_an_unchanged_report_verifies(desk: Desk) -> None:
    for form in ("json", "html"):
        result = desk.verify(desk.write(form, desk.document), "--entry", str(desk.entry()), "--json")
        seen = json.loads(result.stdout)
        assert (seen["whole"], seen["vouched_by"], seen["problems"]) == (True, OWN, [])
        assert (seen["proven"], seen["digest"]) == (45, desk.document["digest"])
    told = desk.verify(desk.write("json", desk.document)).stdout
    assert "give --entry with the proof of the ledger's entry of the report" in told


def younger(document: Document) -> None:
    row(document, f"secret:{DATABASE}")["cells"]["age_days"] = 1


def other_time(document: Document) -> None:
    changed = row(document, "entry:5")
    changed["entry"] = changed["entry"].replace("2026-01-03", "2026-01-04")


def without_proof(document: Document) -> None:
    row(document, "entry:5").pop("hashes")


def another_number(document: Document) -> None:
    row(document, "entry:5")["id"] = "entry:6"


def taken_out(document: Document) -> None:
    document["rows"].remove(row(document, "entry:5"))


def twice(document: Document) -> None:
    document["rows"].append(deepcopy(row(document, "entry:5")))


def no_checkpoint(document: Document) -> None:
    document["ledger"]["checkpoint"] = ""


FORGERIES: dict[str, tuple[Callable[[Document], None], str]] = {
    "an age": (younger, "the report is not the one that the ledger's entry 74 names"),
    "an entry": (other_time, "the row 'entry:5' is not proven"),
    "no proof": (without_proof, "the row 'entry:5' is not proven"),
    "another number": (another_number, "the row 'entry:6' is not proven"),
    "a row less": (taken_out, "the row 'entry:5' is cited, and missing"),
    "a row twice": (twice, "the row 'entry:5' appears twice"),
    "no checkpoint": (no_checkpoint, "it cites entries of the ledger, and no checkpoint"),
    "a verdict": (
        lambda document: document["controls"][2].update(verdict="pass"),
        "the report is not the one that the ledger's entry 74 names",
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_with_recomputed_digests_is_reported(desk: Desk, name: str) -> None:
    forge, problem = FORGERIES[name]
    forged = deepcopy(desk.document)
    forge(forged)
    result = desk.verify(desk.write("json", sealed(forged)), "--entry", str(desk.entry()), code=1)
    assert problem in " ".join(result.output.split())


@pytest.mark.parametrize("name", [f"secret:{DATABASE}", "reader:ml-training/api-keys@hub:approle stranger", "entry:5"])
def test_a_changed_row_is_reported_without_the_ledgers_entry(desk: Desk, name: str) -> None:
    changed = deepcopy(desk.document)
    about = row(changed, name)
    about.get("cells", about)["note"] = "nothing to see here"
    for form in ("json", "html"):
        result = desk.verify(desk.write(form, changed), code=1)
        assert f"the row '{name}' was changed" in result.output


def test_a_report_of_another_ledger_is_not_trusted(desk: Desk) -> None:
    file = desk.write("json", desk.document)
    result = desk.verify(file, key=str(Key().public()), code=1)
    assert "the checkpoint is not signed by a key that is trusted" in result.output
    elsewhere = str(desk.built.key.public("keyturn/elsewhere"))
    assert "is not signed by a key that is trusted" in desk.verify(file, key=elsewhere, code=1).output


def test_an_entry_of_another_report_proves_nothing(desk: Desk) -> None:
    other = desk.built.report("pci")
    result = desk.verify(desk.write("json", other), "--entry", str(desk.entry()), code=1)
    assert "the report is not the one that the ledger's entry 74 names" in result.output
    proof = desk.directory / "promote.json"
    proof.write_text(prove_entry(desk.built.ledger, 5).to_json())
    result = desk.verify(desk.write("json", desk.document), "--entry", str(proof), code=1)
    assert "the entry 5 is about no report, but about 'promote'" in result.output


@pytest.mark.parametrize("form", ["json", "html"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.99])
def test_a_report_cut_short_is_refused(desk: Desk, form: str, part: float) -> None:
    file = desk.write(form, desk.document)
    text = file.read_text()
    file.write_text(text[: int(len(text) * part)])
    result = desk.verify(file, code=1)
    assert "error: " in result.output
    assert "Traceback" not in result.output


def test_a_page_that_shows_something_else_than_it_carries_is_found(desk: Desk) -> None:
    file = desk.write("html", desk.document)
    page = file.read_text()
    file.write_text(page.replace('<span class="badge open">fail</span>', '<span class="badge closed">pass</span>', 1))
    assert "the page shows something else than what it carries" in desk.verify(file, code=1).output
    file.write_text(page + "<!-- -->")
    assert "the page shows something else than what it carries" in desk.verify(file, code=1).output
    older = sealed({**deepcopy(desk.document), "made_by": "keyturn 0.0.1"})
    carried = base64.b64encode(canonical(older)).decode()
    file.write_text(
        CARRIED.sub(f'<div hidden id="keyturn-report" data-report="{carried}"></div>'.encode(), page.encode()).decode()
    )
    assert "the page was made by keyturn 0.0.1" in desk.verify(file, code=1).output
    file.write_text(page.replace("</body>", re.search(r"<div hidden.*?</div>", page)[0] + "</body>"))  # type: ignore[index]
    assert "carries no report, or several" in desk.verify(file, code=1).output


NONSENSE = (
    b"",
    b"[]",
    b"{}",
    b'{"schema": "keyturn.compliance-report/1"}',
    b"[" * 100_000,
    b"<html></html>",
    b"\xff\xfe",
)


@pytest.mark.parametrize("text", NONSENSE)
def test_a_file_that_is_no_report_is_refused_with_a_clear_error(desk: Desk, text: bytes) -> None:
    file = desk.directory / "nonsense"
    file.write_bytes(text)
    result = desk.verify(file, code=1)
    assert "error: read the report: " in result.output


MEMBERS = ("controls", "checks", "tables", "rows", "charts", "ledger", "period", "framework", "verdicts", "looked_at")
ODD: tuple[Any, ...] = ([1], ["x"], [{}], {"a": None}, {}, "", None, 1e999)


def test_no_odd_member_ends_in_a_traceback_or_passes(desk: Desk) -> None:
    page = write_format("html", desk.document)[1].encode()
    for place, member in enumerate(MEMBERS):
        text = json.dumps({**desk.document, member: ODD[place % len(ODD)]}).encode()
        carried = b'<div hidden id="keyturn-report" data-report="' + base64.b64encode(text) + b'"></div>'
        for file, odd_text in (("odd.json", text), ("odd.html", CARRIED.sub(carried, page))):
            (desk.directory / file).write_bytes(odd_text)
            assert desk.verify(desk.directory / file, code=1).exception.__class__ is SystemExit


def test_a_duplicate_key_is_refused(desk: Desk) -> None:
    text = json.dumps(desk.document)
    file = desk.directory / "twice.json"
    file.write_text('{"owner": "nobody", ' + text[1:])
    assert "is cut short" in desk.verify(file, code=1).output
