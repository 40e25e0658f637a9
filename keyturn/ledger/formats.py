"""Entries in the formats of other systems: JSON Lines, ArcSight's CEF and OCSF. One line each, whatever they contain.

Sources: "ArcSight Common Event Format Implementation Standard", version 26 (header, escaping, extension dictionary);
the OCSF schema 1.8.0, class Entity Management (events/iam/entity_management.json and the objects it names). Alerts are
Detection Findings: see :mod:`keyturn.ledger.findings`.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Any, Final

from keyturn import __version__
from keyturn.core.errors import Invalid, Rewritten
from keyturn.core.notifications.alerts import AlertNote, alert_of
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.ledger.entries import Numbered, parse_leaf
from keyturn.ledger.findings import finding_data, finding_info

PRODUCT: Final = "Keyturn"


class Format(StrEnum):
    """The output formats."""

    JSONL = "jsonl"
    """The canonical leaf, the only format that can be verified."""
    CEF = "cef"
    OCSF = "ocsf"


class Severity(IntEnum):
    """The severity of an entry. The numbers are OCSF's severity_id."""

    INFORMATIONAL = 1
    MEDIUM = 3
    HIGH = 4
    CRITICAL = 5


ORDINARY: Final = {
    Outcome.BEGUN: Severity.INFORMATIONAL,
    Outcome.DONE: Severity.INFORMATIONAL,
    Outcome.FAILED: Severity.MEDIUM,
    Outcome.DENIED: Severity.HIGH,
}
URGENT: Final = {
    Outcome.BEGUN: Severity.MEDIUM,
    Outcome.DONE: Severity.MEDIUM,
    Outcome.FAILED: Severity.CRITICAL,
    Outcome.DENIED: Severity.HIGH,
}
IN_AN_EMERGENCY: Final = re.compile(r"(revoke|cut|erase)\b|(open|close|look at) incident$")
"""Actions of a revocation."""
REFUSED: Final = Rewritten.__name__
"""The prefix of a note that reports changed history."""


def encode_as(form: Format, ledger: str, numbered: Numbered, leaf: bytes) -> str:
    """An entry of the ledger on one line, without the line end."""
    return ENCODERS[form](ledger, numbered, leaf)


def sequenced(sequence: int, leaf: bytes) -> Numbered:
    """The entry stored at ``sequence``. Raises Rewritten for a malformed or misplaced one."""
    try:
        numbered = parse_leaf(leaf)
    except Invalid:
        numbered = None
    if numbered is None or numbered.sequence != sequence:
        problem = f"what is stored as entry {sequence} is not that entry"
        raise Rewritten("read", "the ledger", problem, "See `keyturn ledger verify` for where it begins")
    return numbered


def severity(entry: Entry) -> Severity:
    """The severity by action and outcome."""
    if entry.outcome is Outcome.FAILED and entry.note.startswith(REFUSED):
        return Severity.CRITICAL
    if alert := alert_of(entry):
        return Severity.HIGH if alert.level == "high" else Severity.MEDIUM
    return (URGENT if IN_AN_EMERGENCY.match(entry.action) else ORDINARY)[entry.outcome]


# --- CEF

CEF_SEVERITY: Final = {Severity.INFORMATIONAL: 2, Severity.MEDIUM: 5, Severity.HIGH: 7, Severity.CRITICAL: 9}
"""0 to 3 is low, 4 to 6 medium, 7 and 8 high, 9 and 10 very high."""

CEF_LIMITS: Final = {"act": 63, "dvchost": 100, "msg": 1023, "outcome": 63, "suser": 1023}
"""Maximum characters by the extension dictionary; longer text is cut. Custom strings may have 4,000."""


def _cef(ledger: str, numbered: Numbered, _: bytes) -> str:
    """The header's seven fields, and the extension."""
    entry = numbered.entry
    level = str(CEF_SEVERITY[severity(entry)])
    header = ("CEF:0", PRODUCT, PRODUCT, __version__, entry.action, f"{entry.action} {entry.outcome}", level)
    named = {
        "externalId": str(numbered.sequence),
        "rt": str(_milliseconds(entry.time)),
        "suser": entry.actor,
        "act": entry.action,
        "outcome": str(entry.outcome),
        "dvchost": entry.host,
        "msg": entry.note,
    }
    extension = [
        *named.items(),
        *_custom("cn", {"version": str(entry.version or "")}),
        *_custom("cs", _more(ledger, entry)),
    ]
    pairs = " ".join(f"{key}={_cef_value(key, text)}" for key, text in extension if text)
    return f"{'|'.join(map(_cef_field, header))}|{pairs}"


def _more(ledger: str, entry: Entry) -> dict[str, str]:
    """The texts for which the dictionary has no key."""
    named = ("secret", "fingerprint", "place", "run")
    return {**{name: getattr(entry, name) for name in named}, "ledger": ledger}


def _custom(kind: str, texts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Custom keys with constant numbers, each with a label."""
    pairs = [((f"{kind}{at}Label", name), (f"{kind}{at}", text)) for at, (name, text) in enumerate(texts.items(), 1)]
    return [pair for label, text in pairs if text[1] for pair in (label, text)]


def _cef_field(text: str) -> str:
    """A header field: pipe and backslash are escaped, line ends become spaces."""
    return _without_controls(text.replace("\r", " ").replace("\n", " ")).replace("\\", r"\\").replace("|", r"\|")


def _cef_value(key: str, text: str) -> str:
    """An extension value: backslash, equals sign and line ends are escaped, a pipe is not."""
    whole = text.replace("\r\n", "\n")
    cut = whole[: CEF_LIMITS.get(key, len(whole))]
    escaped = cut.replace("\\", r"\\").replace("=", r"\=").replace("\n", r"\n").replace("\r", r"\r")
    return _without_controls(escaped)


def _without_controls(text: str) -> str:
    """The text without line ends and terminal controls."""
    if text.isascii() and text.isprintable():
        return text
    unwanted = {char for char in set(text) if unicodedata.category(char) in ("Cc", "Zl", "Zp")}
    return "".join("\N{REPLACEMENT CHARACTER}" if char in unwanted else char for char in text)


# --- OCSF

OCSF_VERSION: Final = "1.8.0"
IAM: Final = 3
ENTITY_MANAGEMENT: Final = 3004
OTHER: Final = 99

CREATE, READ, UPDATE, DELETE, DISABLE = 1, 2, 3, 4, 9
ACTIVITIES: Final = {CREATE: "Create", READ: "Read", UPDATE: "Update", DELETE: "Delete", DISABLE: "Disable"}
ACTIVITY_OF: Final = {
    "stage": CREATE,
    "import": CREATE,
    "verify": READ,
    "prove": READ,
    "install": UPDATE,
    "promote": UPDATE,
    "push": UPDATE,
    "sync": UPDATE,
    "replace": UPDATE,
    "revert": UPDATE,
    "renew": UPDATE,
    "retire": DELETE,
    "abandon": DELETE,
    "destroy": DELETE,
    "delete": DELETE,
    "hub": DELETE,
    "forget": DELETE,
    "erase": DELETE,
    "cut": DISABLE,
    "revoke": DISABLE,
    "kill": DISABLE,
}
"""By the first word of an action, or of a revocation's step. Others map to Other."""

STATUS: Final = {
    Outcome.BEGUN: (OTHER, str(Outcome.BEGUN)),
    Outcome.DONE: (1, "Success"),
    Outcome.FAILED: (2, "Failure"),
    Outcome.DENIED: (2, "Failure"),
}
SEVERITY_NAMES: Final = {weight: weight.name.capitalize() for weight in Severity}


def _ocsf(ledger: str, numbered: Numbered, leaf: bytes) -> str:
    return json.dumps(ocsf(ledger, numbered, leaf), separators=(",", ":"))


def ocsf(ledger: str, numbered: Numbered, leaf: bytes) -> dict[str, Any]:
    """The entry as an event, with the leaf as its raw data."""
    alert = alert_of(numbered.entry)
    made = _finding(numbered.entry, alert) if alert else _entity_management(ledger, numbered)
    return _without_empty({**made, "metadata": _metadata(ledger, numbered), "raw_data": leaf.decode()})


def _entity_management(ledger: str, numbered: Numbered) -> dict[str, Any]:
    """An event of the class Entity Management."""
    entry, activity = numbered.entry, _activity(numbered.entry.action)
    status, status_name = STATUS[entry.outcome]
    why = {"status_detail" if entry.outcome in (Outcome.FAILED, Outcome.DENIED) else "comment": entry.note}
    return {
        "activity_id": activity,
        "activity_name": ACTIVITIES.get(activity, entry.action or "Other"),
        "category_uid": IAM,
        "category_name": "Identity & Access Management",
        "class_uid": ENTITY_MANAGEMENT,
        "class_name": "Entity Management",
        "type_uid": ENTITY_MANAGEMENT * 100 + activity,
        "severity_id": int(severity(entry)),
        "severity": SEVERITY_NAMES[severity(entry)],
        "status_id": status,
        "status": status_name,
        "status_code": str(entry.outcome),
        "time": _milliseconds(entry.time),
        "message": " ".join(filter(None, (entry.action, entry.secret, entry.place, str(entry.outcome)))),
        "actor": {"user": {"name": entry.actor or "unknown"}, "app_name": PRODUCT},
        "entity": _entity(ledger, entry),
        "src_endpoint": _without_empty({"hostname": entry.host}),
        **why,
    }


def _finding(entry: Entry, alert: AlertNote) -> dict[str, Any]:
    """An event of the class Detection Finding."""
    weight = severity(entry)
    return {
        **finding_data(entry, alert),
        "severity_id": int(weight),
        "severity": SEVERITY_NAMES[weight],
        "time": _milliseconds(entry.time),
        "start_time": _milliseconds(alert.first),
        "end_time": _milliseconds(alert.last),
        "finding_info": _without_empty(
            {
                **finding_info(alert),
                "product": {"name": PRODUCT, "vendor_name": PRODUCT, "version": __version__},
                "first_seen_time": _milliseconds(alert.first),
                "last_seen_time": _milliseconds(alert.last),
            }
        ),
    }


def _metadata(ledger: str, numbered: Numbered) -> dict[str, Any]:
    return _without_empty(
        {
            "version": OCSF_VERSION,
            "product": {"name": PRODUCT, "vendor_name": PRODUCT, "version": __version__},
            "uid": f"{ledger}/{numbered.sequence}",
            "original_event_uid": str(numbered.sequence),
            "sequence": numbered.sequence,
            "event_code": numbered.entry.action,
            "log_name": ledger,
            "correlation_uid": numbered.entry.run,
        }
    )


def _entity(ledger: str, entry: Entry) -> dict[str, Any]:
    """The object of the action: a secret, else a place, else the ledger."""
    kind = "Secret" if entry.secret else "Place" if entry.place else "Ledger"
    return _without_empty(
        {
            "name": entry.secret or entry.place or ledger,
            "type_id": OTHER,
            "type": kind,
            "version": str(entry.version or ""),
            "data": _without_empty({"fingerprint": entry.fingerprint, "place": entry.place}),
        }
    )


def _activity(action: str) -> int:
    word = re.split(r"[^a-z]", action.removeprefix("revoke: "), maxsplit=1)[0]
    return ACTIVITY_OF.get(word, OTHER)


def _without_empty(members: dict[str, Any]) -> dict[str, Any]:
    """The members that are not empty."""
    return {key: value for key, value in members.items() if value not in ("", {})}


def _milliseconds(time: datetime) -> int:
    # Integers, since a float could round up to the next millisecond.
    since = time.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


ENCODERS: Final[Mapping[Format, Callable[[str, Numbered, bytes], str]]] = {
    Format.JSONL: lambda ledger, numbered, leaf: leaf.decode(),
    Format.CEF: _cef,
    Format.OCSF: _ocsf,
}
