"""An alert goes to collectors as a Detection Finding: https://schema.ocsf.io/1.8.0/classes/detection_finding."""

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from keyturn import __version__
from keyturn.core.notifications.alerts import AlertNote
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.ledger.entries import Numbered, leaf
from keyturn.ledger.formats import OCSF_VERSION, Format, Severity, encode_as, severity

LEDGER = "keyturn/tests"
FIRST, LAST, TOLD = (datetime(2026, 3, 4, 23, 0, second, tzinfo=UTC) for second in (0, 5, 6))
ALERT = AlertNote(
    "a1b2", "begun", "high", 1200, "hub", "approle trainer", 1, "203.0.113.9", FIRST, LAST, 2, ("decoy", "new-address"),
    "it is a decoy, which no one has a reason to read",
)  # fmt: skip


def told(alert: AlertNote = ALERT, secret: str = "ml/key") -> Entry:
    return Entry(TOLD, "approle keyturn-worker", "alert", Outcome.DONE, secret, place="hub", note=alert.to_text())


def event(entry: Entry) -> dict[str, Any]:
    return dict(json.loads(encode_as(Format.OCSF, LEDGER, Numbered(7, entry), leaf(7, entry))))


def changed(**changes: Any) -> dict[str, Any]:
    return event(told(dataclasses.replace(ALERT, **changes)))


def test_a_whole_alert_in_ocsf() -> None:
    one = told()
    assert event(one) == {
        "activity_id": 1,
        "activity_name": "Create",
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": 2004,
        "class_name": "Detection Finding",
        "type_uid": 200401,
        "severity_id": 4,
        "severity": "High",
        "status_id": 1,
        "status": "New",
        "is_alert": True,
        "count": 2,
        "time": 1772665206000,
        "start_time": 1772665200000,
        "end_time": 1772665205000,
        "message": "approle trainer: decoy, new-address",
        "finding_info": {
            "uid": "a1b2",
            "title": "Odd access by approle trainer",
            "desc": "it is a decoy, which no one has a reason to read",
            "types": ["decoy", "new-address"],
            "analytic": {"type_id": 1, "type": "Rule", "name": "decoy", "uid": "decoy"},
            "data_sources": ["hub"],
            "product": {"name": "Keyturn", "vendor_name": "Keyturn", "version": __version__},
            "first_seen_time": 1772665200000,
            "last_seen_time": 1772665205000,
        },
        "resources": [{"name": "ml/key", "type": "Secret"}],
        "evidences": [{"actor": {"user": {"name": "approle trainer"}}, "src_endpoint": {"ip": "203.0.113.9"}}],
        "unmapped": {"stage": "begun", "score": 1.2, "principals": 1},
        "metadata": {
            "version": OCSF_VERSION,
            "product": {"name": "Keyturn", "vendor_name": "Keyturn", "version": __version__},
            "uid": "keyturn/tests/7",
            "original_event_uid": "7",
            "sequence": 7,
            "event_code": "alert",
            "log_name": LEDGER,
        },
        "raw_data": leaf(7, one).decode(),
    }


@pytest.mark.parametrize(
    ("stage", "activity", "alerts"), [("begun", 1, True), ("raised", 2, True), ("complete", 2, False)]
)
def test_a_later_stage_updates_the_same_finding(stage: str, activity: int, alerts: bool) -> None:
    later = changed(stage=stage)
    assert (later["finding_info"]["uid"], later["type_uid"], later["is_alert"]) == ("a1b2", 200400 + activity, alerts)


def test_a_storm_names_its_number_and_no_principal() -> None:
    storm = changed(principal="", principals=75, source="")
    assert storm["finding_info"]["title"] == "Odd access by 75 principals or more"
    assert storm["evidences"] == [{"data": {"principals": 75}}]


@pytest.mark.parametrize(
    ("source", "endpoint"),
    [
        ("2001:db8::1", {"ip": "2001:db8::1"}),
        ("10.0.0.9, said to be for 10.0.0.1", {"ip": "10.0.0.9"}),
        ("AWS Internal", {"name": "AWS Internal"}),
    ],
)
def test_an_address_is_one_only_where_it_is(source: str, endpoint: dict[str, str]) -> None:
    assert changed(source=source)["evidences"][0]["src_endpoint"] == endpoint


@pytest.mark.parametrize("note", ["", "{", "[]", "a note of somebody's", '{"id": 7}', '{"id":"x","first":"yesterday"}'])
def test_an_entry_that_tells_of_no_alert_is_an_ordinary_one(note: str) -> None:
    assert event(dataclasses.replace(told(), note=note))["class_uid"] == 3004


def test_the_severity_is_the_alert_s_in_every_format() -> None:
    assert severity(told()) is Severity.HIGH
    assert severity(told(dataclasses.replace(ALERT, level="alert"))) is Severity.MEDIUM
