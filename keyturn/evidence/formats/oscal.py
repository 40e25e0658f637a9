"""The report as OSCAL assessment results, for evidence tools. Source: NIST OSCAL 1.2, Assessment Results.

OSCAL has only satisfied and not satisfied. An unchecked control is not satisfied, with another reason than a failure. A
control that does not apply has no finding. Identifiers derive from the report's digest, so they are stable.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from keyturn.core.text.plain_text import visible
from keyturn.evidence.model import ControlVerdict
from keyturn.evidence.report import Document, report_name

VERSION: Final = "1.2.0"
"""The version of OSCAL."""

NS: Final = "urn:keyturn:compliance-report"
"""The namespace of Keyturn's own properties."""

PLAN: Final = "assessment plan"
REPORT: Final = "report"

MOST: Final = 200
"""Maximum number of rows of evidence per observation; the report itself has all."""

REASONS: Final = {
    str(ControlVerdict.PASS): ("satisfied", "pass"),
    str(ControlVerdict.FAIL): ("not-satisfied", "fail"),
    str(ControlVerdict.UNSEEN): ("not-satisfied", "other"),
}
"""The state and the reason for each verdict."""


def write_oscal(document: Document) -> str:
    return json.dumps({"assessment-results": results(document)}, indent=2) + "\n"


def results(document: Document) -> dict[str, Any]:
    return {
        "uuid": uuid_of(document, "assessment results"),
        "metadata": {
            "title": text(
                f"{document['framework']['title']}, {document['period']['from']} to {document['period']['to']}"
            ),
            "last-modified": document["looked_at"],
            "version": document["digest"],
            "oscal-version": VERSION,
            "props": [prop("made-by", document["made_by"]), prop("schema", document["schema"])],
        },
        "import-ap": {"href": f"#{uuid_of(document, PLAN)}"},
        "results": [result(document)],
        "back-matter": {"resources": [plan_resource(document), report_resource(document)]},
    }


def result(document: Document) -> dict[str, Any]:
    members: dict[str, Any] = {
        "uuid": uuid_of(document, "result"),
        "title": text(document["framework"]["title"]),
        "description": text(f"By {document['framework']['source']}, as far as it is about secrets."),
        "start": document["period"]["from"],
        "end": document["period"]["to"],
        "reviewed-controls": {
            "control-selections": [
                {"include-controls": [{"control-id": token(document, c)} for c in document["controls"]]}
            ]
        },
        "observations": [observation(document, check) for check in document["checks"]],
    }
    if findings := list(findings_of(document)):
        members["findings"] = findings
    return members


def observation(document: Document, check: Mapping[str, Any]) -> dict[str, Any]:
    members: dict[str, Any] = {
        "uuid": uuid_of(document, f"check {check['name']}"),
        "title": text(check["name"]),
        "description": text(" ".join((*check["found"], *check["remarks"]))),
        "props": [prop("verdict", check["verdict"])],
        "methods": ["TEST"],
        "collected": document["looked_at"],
    }
    if check["rows"]:
        href = f"#{uuid_of(document, REPORT)}"
        members["relevant-evidence"] = [
            {"href": href, "description": text(f"The row {row} of the report."), "props": [prop("row", row)]}
            for row in check["rows"][:MOST]
        ]
    return members


def findings_of(document: Document) -> Iterator[dict[str, Any]]:
    for control in document["controls"]:
        if control["verdict"] not in REASONS:
            continue
        state, reason = REASONS[control["verdict"]]
        yield {
            "uuid": uuid_of(document, f"control {control['id']}"),
            "title": text(f"{control['id']} {control['title']}"),
            "description": text(control["asked"]),
            "props": [prop("verdict", control["verdict"])],
            "target": {
                "type": "objective-id",
                "target-id": token(document, control),
                "status": {"state": state, "reason": reason},
            },
            "related-observations": [
                {"observation-uuid": uuid_of(document, f"check {name}")} for name in control["checks"]
            ],
        }


def plan_resource(document: Document) -> dict[str, Any]:
    """Return the framework, in place of an assessment plan."""
    return {
        "uuid": uuid_of(document, PLAN),
        "title": text(document["framework"]["title"]),
        "description": text(f"The checks of keyturn for {document['framework']['source']}."),
    }


def report_resource(document: Document) -> dict[str, Any]:
    return {
        "uuid": uuid_of(document, REPORT),
        "title": "The report as JSON: keyturn report verify checks every proof in it",
        "props": [prop("digest", document["digest"]), prop("ledger", document["ledger"]["name"] or "none")],
        "rlinks": [{"href": f"{report_name(document)}.json", "media-type": "application/json"}],
    }


def uuid_of(document: Document, what: str) -> str:
    """Return an identifier that is stable for a part of a report (RFC 9562, version 5)."""
    return str(uuid5(NAMESPACE_URL, f"{NS}:{document['digest']}:{what}"))


def token(document: Document, control: Mapping[str, Any]) -> str:
    """Return a control's id in OSCAL's characters, with the framework's id before it."""
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", control["id"]).strip("-")
    return f"{document['framework']['id']}_{plain}".lower()


def prop(name: str, value: str) -> dict[str, str]:
    return {"name": name, "ns": NS, "value": text(value)}


def text(words: str) -> str:
    """Return a text for OSCAL: one line, not empty, without surrounding white space."""
    return " ".join(visible(words).split()) or "-"
