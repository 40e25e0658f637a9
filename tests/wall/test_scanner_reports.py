"""Crafted scanner reports revoke nothing beyond what leaked, and expose no value."""

import io
import json
from typing import Any

import pytest

from keyturn.core.errors import Invalid
from keyturn.core.sensitive import Sensitive
from keyturn.revocation.findings import scanner
from keyturn.revocation.findings.found_values import Owner, State, ValueIndex, match_findings
from keyturn.revocation.findings.scanner import FoundValue, ScannerReport

SECRET = Owner("ml/db", 3, "password", State.IN_FORCE)
HOST = Owner("ml/db", 3, "host", State.NAME)


def read(data: bytes) -> tuple[list[FoundValue], ScannerReport]:
    report = ScannerReport(io.BytesIO(data), "report.json")
    return list(report.findings()), report


def hog(**more: Any) -> bytes:
    return json.dumps({"Raw": "a value", "DetectorName": "X"} | more).encode() + b"\n"


@pytest.mark.parametrize(
    "line",
    [
        b'{"Raw":"x","SourceMetadata":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
        b'{"Raw":7}\n',
        b'{"Raw":"\xff\xfe"}\n',
        b"{" * 5_000 + b"\n",
        b'{"Raw":"x"',
    ],
    ids=["deep", "no text", "no UTF-8", "open", "cut"],
)
def test_one_bad_entry_hides_no_other(line: bytes) -> None:
    values, report = read(hog() + line)
    assert len(values) == 1
    assert report.malformed == 1


@pytest.mark.parametrize(
    "metadata",
    [None, 7, [], {"Data": 7}, {"Data": {}}, {"Data": {"Git": 7}}, {"Data": {"Git": {"line": "x", "commit": 7}}}],
)
def test_an_odd_location_does_not_invalidate_its_finding(metadata: Any) -> None:
    ((value,), _) = read(hog(SourceMetadata=metadata))
    assert (value.at.file, value.at.line, value.at.commit) == ("", 0, "")
    assert value.texts[0] == Sensitive("a value")


def test_a_report_or_a_line_that_never_ends_is_not_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner, "LARGEST", 1_000)
    monkeypatch.setattr(scanner, "LONGEST", 1_000)
    for endless in (b"[" + b" " * 5_000, b"{" + b" " * 5_000):
        with pytest.raises(Invalid, match="longer than 1,000 bytes"):
            read(endless)


def test_a_committed_address_or_word_revokes_nothing() -> None:
    index = ValueIndex()
    index.add(Sensitive("correct horse"), SECRET)
    index.add(Sensitive("db.example.com"), HOST)
    index.add(Sensitive("5432"), HOST)
    values, _ = read(hog(Raw="db.example.com", RawV2="db.example.com:5432:ml") + hog(Raw="5432") + hog(Raw="horse"))
    assert match_findings(index, values).working == ()


def test_a_value_is_shown_by_nothing_that_is_kept_of_its_finding() -> None:
    (values, _) = read(hog(Raw="hunter2hunter2", DetectorName="hunter2hunter2"))
    assert "hunter2" not in repr(values)
