"""Ledger entries in export formats can be read back by those formats' rules."""

import dataclasses
import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn import __version__
from keyturn.core.errors import Rewritten
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.ledger.entries import Numbered, leaf, parse_leaf
from keyturn.ledger.formats import OCSF_VERSION, Format, Severity, encode_as, sequenced, severity
from tests.ledger.entries import entry
from tests.ledger.test_entries import ENTRIES

LEDGER = "keyturn/tests"
HOSTILE = 'a|b\\c=d\r\nCEF:0|x|y|z| act=erase ]"{}\x1b[31m\u2028\x85<134>1 - - \N{SNOWMAN}'


def encoded(form: Format, one: Entry, sequence: int = 7) -> str:
    return encode_as(form, LEDGER, Numbered(sequence, one), leaf(sequence, one))


# --- all of them


@pytest.mark.parametrize("form", Format)
@given(one=ENTRIES)
def test_an_entry_is_one_line_in_every_format(form: Format, one: Entry) -> None:
    line = encoded(form, one)
    assert "\n" not in line
    assert "\r" not in line
    assert line.encode()


def test_a_line_of_json_is_the_leaf_itself() -> None:
    one = dataclasses.replace(entry(7), note=HOSTILE)
    assert encoded(Format.JSONL, one).encode() == leaf(7, one)


def test_an_entry_that_says_another_number_than_its_place_is_refused() -> None:
    with pytest.raises(Rewritten, match="what is stored as entry 8 is not that entry"):
        sequenced(8, leaf(7, entry(7)))
    with pytest.raises(Rewritten, match="what is stored as entry 7 is not that entry"):
        sequenced(7, b'{"seq":7}')
    assert sequenced(7, leaf(7, entry(7))) == Numbered(7, entry(7))


def test_what_fails_in_an_emergency_weighs_most_and_so_does_a_changed_history() -> None:
    def of(action: str, outcome: Outcome, note: str = "") -> Severity:
        return severity(dataclasses.replace(entry(), action=action, outcome=outcome, note=note))

    assert [of("promote", outcome) for outcome in Outcome] == [
        Severity.INFORMATIONAL,
        Severity.INFORMATIONAL,
        Severity.MEDIUM,
        Severity.HIGH,
    ]
    for action in ("cut", "revoke", "revoke: push", "revoke lease", "erase", "open incident", "close incident"):
        assert of(action, Outcome.DONE) is Severity.MEDIUM
        assert of(action, Outcome.FAILED) is Severity.CRITICAL
    assert of("cutting edge", Outcome.FAILED) is Severity.MEDIUM
    assert of("checkpoint", Outcome.FAILED, "Rewritten: entry 3 is missing") is Severity.CRITICAL


# --- CEF


def split_header(line: str) -> tuple[list[str], str]:
    """The seven fields and the extension: a pipe counts unless an odd number of backslashes stands before it."""
    parts = re.match(r"((?:[^|\\]|\\.)*)\|" * 7 + "(.*)$", line)
    assert parts, line
    return [re.sub(r"\\(.)", r"\1", part) for part in parts.groups()[:7]], parts[8]


def extension(text: str) -> dict[str, str]:
    """Keys and values, as a reader takes them apart: a key is a word before an equals sign that is not escaped."""
    keys = list(re.finditer(r"(?:^| )(\w+)(?<!\\)=", text))
    ends = [key.start() for key in keys[1:]] + [len(text)]
    meant = {"n": "\n", "r": "\r"}
    return {
        key[1]: re.sub(r"\\(.)", lambda found: meant.get(found[1], found[1]), text[key.end() : end])
        for key, end in zip(keys, ends, strict=True)
    }


def visible(text: str) -> str:
    """What CEF keeps of a text: newlines, and no other control characters."""
    kept = re.sub(r"\r\n", "\n", text)
    return re.sub("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]", "\N{REPLACEMENT CHARACTER}", kept)


def test_a_whole_entry_in_cef() -> None:
    one = dataclasses.replace(entry(7), action="promote", note="why")
    assert encoded(Format.CEF, one) == (
        f"CEF:0|Keyturn|Keyturn|{__version__}|promote|promote done|2|externalId=7 rt=1772334720130 "
        "suser=on-call@example.org act=promote outcome=done dvchost=worker-3 msg=why cn1Label=version cn1=7 "
        "cs1Label=secret cs1=ml-training/database-0 cs2Label=fingerprint cs2=" + "0" * 63 + "7 "
        "cs3Label=place cs3=postgresql:ml-postgres cs4Label=run cs4=flow-run/0f3c2b44-9b7e-4f7d-8a5c-2f1f6f0d9a11 "
        "cs5Label=ledger cs5=keyturn/tests"
    )


def test_what_an_entry_has_not_is_left_out_of_cef_and_the_other_numbers_stay() -> None:
    least = Entry(datetime(2026, 3, 1, tzinfo=UTC), "", "stage", Outcome.DONE, run="r")
    told = extension(split_header(encoded(Format.CEF, least))[1])
    assert set(told) == {"externalId", "rt", "act", "outcome", "cs4Label", "cs4", "cs5Label", "cs5"}


@pytest.mark.parametrize("text", [HOSTILE, "\\", "=", "|", "\\=", "\\|", "a=b c=d", "\r", "\n", "a\\", "x cs1=y"])
def test_hostile_texts_stay_where_they_belong_in_cef(text: str) -> None:
    one = Entry(datetime(2026, 3, 1, tzinfo=UTC), text, text, Outcome.DENIED, text, 3, text, text, text, text, text)
    header, rest = split_header(encoded(Format.CEF, one))
    assert header[:4] == ["CEF:0", "Keyturn", "Keyturn", __version__]
    assert header[4] == visible(text.replace("\r", " ").replace("\n", " "))
    assert header[6] == "7"
    told = extension(rest)
    for key in ("suser", "msg", "dvchost", "cs1", "cs2", "cs3", "cs4"):
        assert told[key] == visible(text)
    assert told["act"] == visible(text)[:63]
    assert (told["outcome"], told["externalId"], told["cn1"], told["cs5"]) == ("denied", "7", "3", LEDGER)


@given(one=ENTRIES)
def test_any_entry_reads_back_from_cef(one: Entry) -> None:
    header, rest = split_header(encoded(Format.CEF, one))
    assert header[0] == "CEF:0"
    told = extension(rest)
    names = {"suser": "actor", "msg": "note", "cs1": "secret", "cs2": "fingerprint", "cs3": "place", "cs4": "run"}
    assert {key: told.get(key, "") for key in names} == {key: visible(getattr(one, names[key])) for key in names}


def test_texts_are_cut_to_what_cef_allows_before_they_are_escaped() -> None:
    one = dataclasses.replace(entry(), host="=" * 200, action="a" * 80)
    _, rest = split_header(encoded(Format.CEF, one))
    told = extension(rest)
    assert (told["dvchost"], told["act"]) == ("=" * 100, "a" * 63)


# --- OCSF: https://schema.ocsf.io/1.8.0/classes/entity_management

REQUIRED = {
    "activity_id",
    "category_uid",
    "class_uid",
    "entity",
    "metadata",
    "severity_id",
    "time",
    "type_uid",
}
RECOMMENDED = {"actor", "message", "src_endpoint", "status", "status_code", "status_id"}
ACTIVITY_NAMES = {1: "Create", 2: "Read", 3: "Update", 4: "Delete", 9: "Disable"}
SEVERITY_NAMES = {1: "Informational", 3: "Medium", 4: "High", 5: "Critical"}


def event(one: Entry, sequence: int = 7) -> dict[str, Any]:
    return dict(json.loads(encoded(Format.OCSF, one, sequence)))


@given(one=ENTRIES)
def test_every_event_has_what_the_schema_asks_for(one: Entry) -> None:
    told = event(one)
    assert set(told) >= REQUIRED
    assert RECOMMENDED - {"src_endpoint"} <= set(told)
    assert (told["category_uid"], told["class_uid"]) == (3, 3004)
    assert told["type_uid"] == 300400 + told["activity_id"]
    assert told["activity_name"] == ACTIVITY_NAMES.get(told["activity_id"], one.action or "Other")
    assert told["severity"] == SEVERITY_NAMES[told["severity_id"]]
    assert {"version", "product"} <= set(told["metadata"])
    assert {"name", "vendor_name"} <= set(told["metadata"]["product"])
    assert told["entity"]["name"]
    assert told["entity"]["type_id"] == 99
    assert told["actor"]["user"]["name"] == (one.actor or "unknown")
    assert type(told["time"]) is int
    assert "" not in [*told.values(), *told["metadata"].values(), *told["entity"].values()]


def test_a_whole_entry_in_ocsf() -> None:
    one = dataclasses.replace(entry(7), action="promote", note=HOSTILE)
    assert event(one) == {
        "activity_id": 3,
        "activity_name": "Update",
        "category_uid": 3,
        "category_name": "Identity & Access Management",
        "class_uid": 3004,
        "class_name": "Entity Management",
        "type_uid": 300403,
        "severity_id": 1,
        "severity": "Informational",
        "status_id": 1,
        "status": "Success",
        "status_code": "done",
        "time": 1772334720130,
        "message": "promote ml-training/database-0 postgresql:ml-postgres done",
        "metadata": {
            "version": OCSF_VERSION,
            "product": {"name": "Keyturn", "vendor_name": "Keyturn", "version": __version__},
            "uid": "keyturn/tests/7",
            "original_event_uid": "7",
            "sequence": 7,
            "event_code": "promote",
            "log_name": LEDGER,
            "correlation_uid": "flow-run/0f3c2b44-9b7e-4f7d-8a5c-2f1f6f0d9a11",
        },
        "actor": {"user": {"name": "on-call@example.org"}, "app_name": "Keyturn"},
        "entity": {
            "name": "ml-training/database-0",
            "type_id": 99,
            "type": "Secret",
            "version": "7",
            "data": {"fingerprint": "0" * 63 + "7", "place": "postgresql:ml-postgres"},
        },
        "src_endpoint": {"hostname": "worker-3"},
        "raw_data": leaf(7, one).decode(),
        "comment": HOSTILE,
    }


def test_the_raw_data_of_an_event_is_the_leaf_which_can_be_verified() -> None:
    one = dataclasses.replace(entry(7), note=HOSTILE, host="\N{SNOWMAN}")
    assert parse_leaf(event(one)["raw_data"].encode()) == Numbered(7, one)


@pytest.mark.parametrize(
    ("action", "activity"),
    [
        ("stage", 1),
        ("verify", 2),
        ("promote", 3),
        ("push", 3),
        ("retire", 4),
        ("cut", 9),
        ("revoke", 9),
        ("revoke lease", 9),
        ("revoke: hub", 4),
        ("revoke: push", 3),
        ("open incident", 99),
        ("", 99),
    ],
)
def test_the_activity_is_told_by_the_action(action: str, activity: int) -> None:
    assert event(dataclasses.replace(entry(), action=action))["activity_id"] == activity


@pytest.mark.parametrize(
    ("outcome", "status", "name"),
    [
        (Outcome.BEGUN, 99, "begun"),
        (Outcome.DONE, 1, "Success"),
        (Outcome.FAILED, 2, "Failure"),
        (Outcome.DENIED, 2, "Failure"),
    ],
)
def test_the_status_is_told_by_the_outcome(outcome: Outcome, status: int, name: str) -> None:
    told = event(dataclasses.replace(entry(), outcome=outcome, note="why"))
    assert (told["status_id"], told["status"], told["status_code"]) == (status, name, outcome)
    assert told["status_detail" if status == 2 else "comment"] == "why"


def test_what_was_done_to_no_secret_names_the_place_or_the_ledger() -> None:
    placed = event(dataclasses.replace(entry(), secret=""))["entity"]
    assert (placed["name"], placed["type"]) == ("postgresql:ml-postgres", "Place")
    bare = event(dataclasses.replace(entry(), secret="", place=""))["entity"]
    assert (bare["name"], bare["type"]) == (LEDGER, "Ledger")


@given(st.datetimes(datetime(1900, 1, 1), datetime(2240, 1, 1)), st.integers(-720, 720))
def test_the_time_is_in_whole_milliseconds_of_the_epoch(moment: datetime, minutes: int) -> None:
    at = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    expected = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert event(dataclasses.replace(entry(), time=at))["time"] == expected
