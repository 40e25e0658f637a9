"""Whatever a program does to a value before it writes it down, the search finds it."""

import base64
import json
import pickle
import sqlite3
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.core.errors import Invalid
from local.leak_scan import Finding, scan

VALUE = 'CANARY "quoted" \\ ünïcode/+?&%<0123456789>'
PLAIN = "CANARY-0123456789abcdef"
"""A text that no encoding leaves as it is, and one that most do."""

WAYS: dict[str, Callable[[str], bytes]] = {
    "clear": str.encode,
    "in JSON": lambda v: json.dumps({"a": [v]}).encode(),
    "in JSON without escapes": lambda v: json.dumps({"a": [v]}, ensure_ascii=False).encode(),
    "in JSON in JSON": lambda v: json.dumps({"body": json.dumps({"a": v})}).encode(),
    "in a URL's path": lambda v: urllib.parse.quote(f"/x/{v}").encode(),
    "in a URL's query": lambda v: urllib.parse.urlencode({"q": v}).encode(),
    "in hex": lambda v: f"0x{v.encode().hex()}".encode(),
    "in upper-case hex": lambda v: v.encode().hex().upper().encode(),
    "in a pickle": lambda v: pickle.dumps({"a": v}),
    "in a persisted result": lambda v: json.dumps({"r": base64.encodebytes(pickle.dumps([v] * 9)).decode()}).encode(),
    "in lines of base64": lambda v: base64.encodebytes(b"x" * 50 + v.encode() + b"y" * 50),
}
for before in range(3):
    WAYS[f"in base64 after {before} bytes"] = lambda v, n=before: base64.b64encode(b"x" * n + v.encode() + b"yz")  # type: ignore[misc]
    WAYS[f"in URL-safe base64 after {before} bytes"] = lambda v, n=before: base64.urlsafe_b64encode(  # type: ignore[misc]
        b"x" * n + v.encode() + b"yz"
    )


@pytest.mark.parametrize("value", [VALUE, PLAIN, "8 chars!"], ids=["special", "plain", "short"])
@pytest.mark.parametrize("way", WAYS)
def test_a_value_is_found_however_it_is_written(tmp_path: Path, way: str, value: str) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"before" + WAYS[way](value) + b"after")
    found = scan([tmp_path], {"other": "another value", "canary": value})
    assert {(f.place, f.name) for f in found} == {(str(tmp_path / "deep" / "file"), "canary")}


def test_a_value_in_a_database_is_found_with_its_column_even_where_it_crosses_pages(tmp_path: Path) -> None:
    file = tmp_path / "prefect.db"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE log (message TEXT, extra BLOB)")
        database.execute("INSERT INTO log VALUES (?, ?)", ("x" * 4000 + PLAIN * 400 + "y" * 9000, PLAIN.encode().hex()))
    database.close()
    found = scan([file], {"canary": PLAIN})
    assert Finding(f"{file}: log.message", "canary", "clear") in found
    assert Finding(f"{file}: log.extra", "canary", "hex") in found


def test_a_value_that_was_deleted_from_a_database_is_found_in_its_free_pages(tmp_path: Path) -> None:
    file = tmp_path / "prefect.db"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE log (message TEXT)")
        database.execute("INSERT INTO log VALUES (?)", (PLAIN,))
        database.commit()
        database.execute("PRAGMA secure_delete = off")
        database.execute("DELETE FROM log")
    database.close()
    assert scan([file], {"canary": PLAIN}) == [Finding(str(file), "canary", "clear")]


def test_other_values_are_not_found(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"".join(way("another value altogether") for way in WAYS.values()))
    assert scan([tmp_path, tmp_path / "absent"], {"canary": PLAIN, "other": VALUE}) == []


def test_a_finding_names_the_value_and_does_not_hold_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(PLAIN)
    assert PLAIN not in repr(scan([tmp_path], {"canary": PLAIN}))


def test_a_value_too_short_to_search_for_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="search for port: it has fewer than 8 characters"):
        scan([tmp_path], {"canary": PLAIN, "port": "5432"})
