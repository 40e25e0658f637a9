"""The tables that runs leave in the Prefect UI: names, versions and fingerprints."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from prefect.artifacts import acreate_table_artifact

from flows.support.fleet import Stopped
from keyturn.core.errors import KeyturnError
from keyturn.core.fingerprint import shown
from keyturn.core.plan import Action, Plan
from keyturn.core.workspaces import slug
from keyturn.revocation.incidents.incident import IncidentStatus, Step
from keyturn.revocation.preview import Preview
from keyturn.rotation.copies.push import Pushed
from keyturn.rotation.outcome import Outcome
from keyturn.rotation.previous_targets import Retirement
from keyturn.rotation.rollout import Acknowledgement
from keyturn.sync.apply import Result
from keyturn.sync.notices import NOTIFY, Notices
from keyturn.sync.restarts import RESTART
from keyturn.sync.run import of_workloads
from tasks.workspace import names

Row = dict[str, str | int]

PREVIOUS: Final = "credential before"


async def table(key: str, rows: list[Row], description: str) -> None:
    """Show ``rows`` under ``key``, which groups the history of one subject; no rows, no table."""
    if not rows:
        return
    await acreate_table_artifact(table=rows, key=slug(names().artifact(key)), description=description)


async def rotation_table(outcome: Outcome) -> None:
    rows: list[Row] = [{"secret": outcome.path, "what": "secret", "name": outcome.path, "state": str(outcome.state)}]
    rows += [push_row(outcome.path, place) for place in outcome.destinations]
    rows += [tell_row(consumer) for consumer in outcome.consumers]
    if outcome.previous:
        rows.append({"secret": outcome.path, "what": PREVIOUS, "name": outcome.path, "state": outcome.previous})
    title = f"{outcome.path}: version {outcome.version}, fingerprint {shown(outcome.fingerprint)}"
    title += f", {outcome.message}" if outcome.message else ""
    await table(f"rotate-{outcome.path}", rows, title)


def push_row(path: str, place: Pushed) -> Row:
    state = place.error or str(place.state)
    return {"secret": path, "what": "destination", "name": f"{place.store}:{place.name}", "state": state}


SHOWN: Final = 500
"""The limit of copies in a table; copies in sync are only counted."""


def sync_rows(planned: Plan, results: Sequence[Result]) -> list[Row]:
    done = {(result.store, result.name): result for result in results}
    rows = []
    for item in planned.items:
        result = done.get((item.store, item.name))
        if item.action is not Action.IN_SYNC or (result and result.error):
            state = (result.error or result.state) if result else (item.why or str(item.action))
            rows.append((not (result is None or result.error), item, state))
    rows.sort(key=lambda row: (row[0], row[1].path, row[1].label))
    copies = [
        {
            "secret": item.path,
            "copy": item.label,
            "action": str(item.action),
            "version": item.version or "",
            "state": state,
        }
        for _, item, state in rows[:SHOWN]
    ]
    return [*workload_rows(planned, results), *copies]


def workload_rows(planned: Plan, results: Sequence[Result]) -> list[Row]:
    stores = of_workloads(planned, results).items()
    broken = [(f"{store}:{name}", failure) for store, workloads in stores for name, failure in workloads.items()]
    return [
        {"secret": failure.path, "copy": label, "action": RESTART, "version": "", "state": failure.error}
        for label, failure in broken[:SHOWN]
    ]


def notice_rows(notices: Notices) -> list[Row]:
    return [
        {
            "secret": notice.path,
            "copy": notice.consumer,
            "action": NOTIFY,
            "version": notice.version,
            "state": notice.words,
        }
        for notice in sorted(notices.told, key=lambda notice: (not notice.error, notice.path, notice.consumer))[:SHOWN]
    ]


def tell_row(consumer: Acknowledgement) -> Row:
    return {"secret": "", "what": "consumer", "name": consumer.consumer, "state": consumer.words}


def outcome_row(path: str, outcome: Outcome | KeyturnError) -> Row:
    if isinstance(outcome, KeyturnError):
        state = "not begun" if isinstance(outcome, Stopped) else "failed"
        return {"secret": path, "state": state, "version": "", "why": str(outcome)}
    why = "; ".join(filter(None, (outcome.message, outcome.previous)))
    return {"secret": path, "state": str(outcome.state), "version": outcome.version or "", "why": why}


def retirement_row(path: str, retirement: Retirement | KeyturnError) -> Row:
    if isinstance(retirement, KeyturnError):
        return {"secret": path, "state": "failed", "held by": str(retirement)}
    return {"secret": path, "state": retirement.state, "held by": retirement.message}


def preview_rows(preview: Preview) -> list[Row]:
    rows: list[Row] = [
        {
            "secret": secret.path,
            "ends": ", ".join(secret.names),
            "in use": ", ".join(secret.uses),
            "copies": ", ".join(secret.destinations),
            "consumers": ", ".join(secret.consumers),
            "mind": "; ".join(secret.warnings),
        }
        for secret in preview.secrets
    ]
    return rows + [{"secret": lease, "ends": "the lease"} for lease in preview.leases]


def incident_rows(standing: IncidentStatus) -> list[Row]:
    began = standing.incident.triggered_at
    return [
        {
            "secret": secret.path,
            "refused after": after(began, secret.refused_at)
            or ("ended" if Step.CUT in secret.done else "NOT ENDED YET"),
            "clear after": after(began, secret.clear_at),
            "version": secret.version or "",
            "remains": "; ".join(secret.remains),
            "left": "; ".join(secret.left),
        }
        for secret in standing.secrets
    ]


def after(began: datetime, moment: datetime | None) -> str:
    return f"{(moment - began).total_seconds():.2f} s" if moment else ""
