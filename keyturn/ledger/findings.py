"""Alerts as OCSF Detection Findings.

Source: the OCSF schema 1.8.0, events/findings/detection_finding.json, and the objects it names.
"""

from ipaddress import ip_address
from typing import Any, Final

from keyturn.core.notifications.alerts import SCALE, AlertNote
from keyturn.core.ports.ledger import Entry

FINDINGS: Final = 2
DETECTION_FINDING: Final = 2004

CREATE, UPDATE = 1, 2
ACTIVITIES: Final = {"begun": (CREATE, "Create"), "raised": (UPDATE, "Update"), "complete": (UPDATE, "Update")}
NEW: Final = 1
"""The status before anyone looked at it."""

RULE: Final = 1
"""The type of analytic that found it."""


def finding_data(entry: Entry, alert: AlertNote) -> dict[str, Any]:
    """The event's members without times, severity and common members."""
    activity, name = ACTIVITIES.get(alert.stage, (UPDATE, "Update"))
    who = alert.principal or f"{alert.principals} principals or more"
    return {
        "activity_id": activity,
        "activity_name": name,
        "category_uid": FINDINGS,
        "category_name": "Findings",
        "class_uid": DETECTION_FINDING,
        "class_name": "Detection Finding",
        "type_uid": DETECTION_FINDING * 100 + activity,
        "status_id": NEW,
        "status": "New",
        "is_alert": alert.stage != "complete",
        "count": alert.count,
        "message": f"{who}: {', '.join(alert.factors)}",
        "resources": resources(entry, alert),
        "evidences": [evidence(alert)],
        "unmapped": {"stage": alert.stage, "score": alert.score / SCALE, "principals": alert.principals},
    }


def finding_info(alert: AlertNote) -> dict[str, Any]:
    """The finding without times. ``uid`` is the same at every stage."""
    rule = alert.factors[0] if alert.factors else "unknown"
    return {
        "uid": alert.id,
        "title": f"Odd access by {alert.principal or f'{alert.principals} principals or more'}",
        "desc": alert.why,
        "types": list(alert.factors),
        "analytic": {"type_id": RULE, "type": "Rule", "name": rule, "uid": rule},
        "data_sources": [alert.system] if alert.system else [],
    }


def resources(entry: Entry, alert: AlertNote) -> list[dict[str, str]]:
    """The secret concerned, else the system."""
    if entry.secret:
        return [{"name": entry.secret, "type": "Secret"}]
    return [{"name": alert.system, "type": "System"}] if alert.system else []


def evidence(alert: AlertNote) -> dict[str, Any]:
    """The principal and source of the access."""
    actor = {"actor": {"user": {"name": alert.principal}}} if alert.principal else {}
    source = {"src_endpoint": endpoint(alert.source)} if alert.source else {}
    return {**actor, **source} or {"data": {"principals": alert.principals}}


def endpoint(source: str) -> dict[str, str]:
    """An address for OCSF: an IP where it is one, else a name."""
    address = source.partition(",")[0].strip()
    try:
        return {"ip": str(ip_address(address))}
    except ValueError:
        return {"name": source}
