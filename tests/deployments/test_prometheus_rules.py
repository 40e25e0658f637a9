"""The Prometheus alerts and dashboards use existing metrics, and each alert fires."""

import json
import re
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from local.programs import find_program
from tools.metrics_page import NAME, RULES, all_exported, metrics_page

ROOT = Path(__file__).parents[2]
DASHBOARDS = sorted((ROOT / "deployments" / "dashboards").glob("*.json"))
GROUP = '{owner="ana",classification="internal"}'
LEDGER = '{instance="a"}'
DAY = 86_400

FIRES: Mapping[str, tuple[str, str, str]] = {
    # The series, its values where the alert fires after two days, and those where all is well.
    "KeyturnSecretLate": (f"keyturn_secrets_late{GROUP}", "1x576", "0x576"),
    "KeyturnSecretSoonTooOld": (f"keyturn_secret_age_ratio{GROUP}", "0.95x576", "0.5x576"),
    "KeyturnCredentialEnds": (f"keyturn_secret_earliest_end_seconds{GROUP}", f"{2 * DAY}x576", f"{9 * DAY}x576"),
    "KeyturnSecretMissing": (f"keyturn_secrets_missing{GROUP}", "1x576", "0x576"),
    "KeyturnSecretsUnknown": (f"keyturn_secrets_unknown{GROUP}", "3x576", "0x576"),
    "KeyturnLoginRefused": ('keyturn_secrets_by_login{result="refused"}', "1x576", "0x576"),
    "KeyturnConsumersSilent": ("keyturn_consumers_silent", "1x576", "0x576"),
    "KeyturnCopiesBehind": ('keyturn_copies{store="aws",state="behind"}', "4x576", "0x576"),
    "KeyturnCopiesInTrouble": ('keyturn_copies{store="aws",state="conflict"}', "1x576", "0x576"),
    "KeyturnCopiesUnknown": ('keyturn_copies{store="gcp",state="unknown"}', "9x576", "0x576"),
    "KeyturnCopiesFail": ('keyturn_copies_failing_seconds{store="aws"}', "7200x576", "60x576"),
    "KeyturnPushesFail": ('keyturn_pushes_total{outcome="failed"}', "0+1x576", "5x576"),
    "KeyturnStoreThrottles": ('keyturn_push_failures_total{store="aws",code="KT102"}', "0+1x576", "5x576"),
    "KeyturnRotationsFail": ('keyturn_rotations_total{outcome="failed"}', "0+1x576", "7x576"),
    "KeyturnThrottled": ('keyturn_failures_total{code="KT102"}', "0+1x576", "7x576"),
    "KeyturnLedgerNotSigned": ("keyturn_ledger_unsigned_seconds", "3600x576", "60x576"),
    "KeyturnLedgerSilent": ("keyturn_ledger_checkpoint_age_seconds", f"{DAY}x576", "600x576"),
    "KeyturnIncidentOpen": ("keyturn_incidents_open", "1x576", "0x576"),
    "KeyturnIncidentLong": ("keyturn_incident_oldest_seconds", f"{2 * DAY}x576", "0x576"),
    "KeyturnOddReads": ('keyturn_alerts_total{level="high"}', "0+1x576", "4x576"),
    "KeyturnNotReviewed": ("keyturn_unreviewed", "1x576", "0x576"),
    # The time of such a test begins at 1970.
    "KeyturnDrillOld": ("keyturn_drill_last_time_seconds", f"-{41 * DAY}x576", "0x576"),
    "KeyturnDrillFailed": ("keyturn_drill_last_proven", "0x576", "1x576"),
    "KeyturnObjectiveMissed": ('keyturn_revocation_objectives{state="missed"}', "1x576", "0x576"),
    "KeyturnRehearsalOverdue": ('keyturn_revocation_objectives{state="overdue"}', "1x576", "0x576"),
    "KeyturnRestoreDrillOld": ("keyturn_restore_drill_last_time_seconds", f"-{4 * DAY}x576", "0x576"),
    "KeyturnRestoreDrillFailed": ("keyturn_restore_drill_last_proven", "0x576", "1x576"),
    "KeyturnAccessWaits": ("keyturn_grants_waiting", "1x576", "0x576"),
    "KeyturnOwnKeyLate": ("keyturn_own_keys_late", "1x576", "0x576"),
    "KeyturnFingerprintKeyOld": ("keyturn_fingerprint_key_age_seconds", f"{500 * DAY}x576", f"{9 * DAY}x576"),
    "KeyturnManagedKeyDue": ("keyturn_managed_keys_due", "1x576", "0x576"),
    "KeyturnAuthorityEnds": ('keyturn_authority_end_seconds{authority="ca"}', f"{9 * DAY}x576", f"{90 * DAY}x576"),
    "KeyturnAuthorityInTrouble": ('keyturn_authority_alarm{authority="ca"}', "1x576", "0x576"),
    "KeyturnPartDoesNotRun": ('keyturn_serve_part_running{part="follow"}', "0x576", "1x576"),
    "KeyturnPartIsDown": ('keyturn_part_up{part="follow"}', "0x576", "1x576"),
    "KeyturnPartIsBehind": ('keyturn_serve_part_lag_seconds{part="follow"}', "500x576", "1x576"),
    "KeyturnPartFails": ('keyturn_serve_part_failures{part="follow"}', "9x576", "0x576"),
    "KeyturnAccessesMissing": ('keyturn_serve_gaps_total{source="hub"}', "0+1x576", "2x576"),
    "KeyturnReactionFails": ('keyturn_serve_reaction_failures_total{source="mail"}', "0+1x576", "2x576"),
    "KeyturnHubIsBehind": ("keyturn_secrets_behind", "2x576", "0x576"),
    "KeyturnHubToRecover": ("keyturn_hub_to_recover", "1x576", "0x576"),
    "KeyturnHubNotAsDeclared": ("keyturn_hub_setup_sound", "0x576", "1x576"),
    "KeyturnNotLookedAt": ('keyturn_look_up{area="copies"}', "0x576", "1x576"),
    "KeyturnLookOld": ('keyturn_looked_at_seconds{area="copies"}', "0x576", f"{2 * DAY}x576"),
    "KeyturnRunsFail": ('keyturn_worker_runs_ended_total{flow="sync",outcome="crashed"}', "0+1x576", "3x576"),
    "KeyturnRunsAreNotForked": ("keyturn_worker_nursery_up", "0x576", "1x576"),
}
"""Of alerts by one series."""

SLOW = {
    "KeyturnRotationsSlow": ("keyturn_rotation_duration_seconds_bucket", "", "1800.0", "86400.0"),
    "KeyturnRevocationSlow": ("keyturn_incident_revoke_seconds_bucket", 'kind="incident",', "60.0", "300.0"),
    "KeyturnRunsWait": ("keyturn_worker_run_wait_seconds_bucket", "", "300.0", "1800.0"),
}
"""Of alerts by a histogram: its labels, the bucket that all are in where it is well, and the one where it fires."""

ABSENT = {
    "KeyturnServeIsAway": 'keyturn_serve_part_running{part="follow"}',
    "KeyturnNumbersAbsent": 'keyturn_look_up{area="copies"}',
}


@cache
def rules() -> dict[str, Any]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def promtool(*words: str) -> str:
    tool = find_program("promtool")
    done = subprocess.run([tool.path, *words], capture_output=True, text=True, check=False, env=tool.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def series(name: str, values: str) -> dict[str, str]:
    return {"series": name, "values": values}


def cases() -> list[tuple[str, list[dict[str, str]], list[dict[str, str]]]]:
    """Each alert, the series by which it fires, and those by which it does not."""
    plain = [(alert, [series(name, bad)], [series(name, good)]) for alert, (name, bad, good) in FIRES.items()]
    for alert, (name, labels, well, slow) in SLOW.items():
        whole = series(f'{name}{{{labels}le="+Inf"}}', "0+1x576")
        upper = series(f'{name}{{{labels}le="{slow}"}}', "0+1x576")
        bad, good = (series(f'{name}{{{labels}le="{well}"}}', values) for values in ("0x576", "0+1x576"))
        plain.append((alert, [whole, upper, bad], [whole, upper, good]))
    events = series('keyturn_serve_events_total{source="hub"}', "0+9x576")
    sealed = [series('keyturn_serve_segments_total{source="hub"}', values) for values in ("3x576", "0+1x576")]
    plain.append(("KeyturnTrailIsNotSealed", [events, sealed[0]], [events, sealed[1]]))
    return plain + [(alert, [], [series(name, "1x576")]) for alert, name in ABSENT.items()]


def test_every_alert_fires_for_its_cause_and_not_where_all_is_well(tmp_path: Path) -> None:
    assert {alert for alert, _, _ in cases()} == rules().keys()
    bad, good, away = [], [], sorted(ABSENT)
    for _, causes, well in cases():
        good += well
        bad += causes
    alerts = sorted(rules().keys() - ABSENT.keys())
    tests = [group(bad, alerts), group(good, []), group([], away)]
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "5m", "tests": tests}))
    promtool("check", "rules", str(RULES))
    promtool("test", "rules", str(file))


def group(inputs: list[dict[str, str]], firing: list[str]) -> dict[str, Any]:
    """One run of Prometheus over two days, at whose end these alerts fire and no other."""
    samples = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in firing]
    expression = 'count by (alertname) (count by (alertname) (ALERTS{alertstate="firing"}))'
    checked = {"expr": expression, "eval_time": "2d", "exp_samples": samples}
    unique = list({each["series"]: each for each in inputs}.values())
    return {"interval": "5m", "input_series": unique, "promql_expr_test": [checked]}


def test_every_alert_has_somebody_to_tell_and_a_runbook_that_is_there() -> None:
    for name, rule in rules().items():
        assert rule["labels"]["severity"] in ("page", "ticket"), name
        file, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        headings = re.findall(r"^#+ (.+)$", (ROOT / file).read_text(), re.MULTILINE)
        places = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not anchor or anchor in places, name


def expressions() -> dict[str, list[str]]:
    """Of each dashboard."""
    boards = {file.stem: json.loads(file.read_text()) for file in DASHBOARDS}
    return {
        name: [target["expr"] for panel in board["panels"] for target in panel["targets"]]
        for name, board in boards.items()
    }


def test_alerts_and_dashboards_ask_for_what_is_told_by_its_own_labels() -> None:
    told = {name: metric for metric in all_exported() for name in metric.series}
    asked = [rule["expr"] for rule in rules().values()] + [expr for listed in expressions().values() for expr in listed]
    for expression in asked:
        names = NAME.findall(expression)
        assert names, expression
        assert set(names) <= told.keys(), expression
        labels = {label for name in names for label in told[name].labels} | {"le"}
        grouped = [label for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(", ")]
        chosen = re.findall(r"[{,]\s*(\w+)[=!]~?\"", expression)
        assert {*grouped, *chosen} <= labels, expression


def test_every_number_is_in_a_dashboard_or_an_alert_but_those_by_path() -> None:
    asked = {name for listed in expressions().values() for expr in listed for name in NAME.findall(expr)}
    asked |= {name for rule in rules().values() for name in NAME.findall(rule["expr"])}
    unused = {metric.name for metric in all_exported() if not metric.series & asked and "path" not in metric.labels}
    assert unused == {
        "keyturn_secrets_ended",
        "keyturn_ledger_checkpoint_witnesses",
        "keyturn_own_keys",
        "keyturn_managed_keys",
        "keyturn_serve_part_lease",
        "keyturn_serve_alerts",
        "keyturn_serve_sign_ins",
    }


def test_prometheus_takes_every_expression_of_the_dashboards(tmp_path: Path) -> None:
    groups = [
        {"name": board, "rules": [{"record": f"panel:{at}", "expr": expr} for at, expr in enumerate(listed)]}
        for board, listed in expressions().items()
    ]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": groups}))
    assert sum(map(len, expressions().values())) > 50
    promtool("check", "rules", str(tmp_path / "panels.yaml"))


SOURCE = {
    "type": "object",
    "required": ["type", "uid"],
    "properties": {"type": {"const": "prometheus"}, "uid": {"const": "${datasource}"}},
}
TARGET = {
    "type": "object",
    "required": ["refId", "expr", "datasource", "legendFormat"],
    "properties": {"refId": {"pattern": "^[A-Z]$"}, "expr": {"type": "string", "minLength": 1}, "datasource": SOURCE},
}
PLACE = {
    "type": "object",
    "required": ["x", "y", "w", "h"],
    "properties": {
        "x": {"type": "integer", "minimum": 0, "maximum": 23},
        "y": {"type": "integer", "minimum": 0},
        "w": {"type": "integer", "minimum": 1, "maximum": 24},
        "h": {"type": "integer", "minimum": 1},
    },
}
PANEL = {
    "type": "object",
    "required": ["id", "type", "title", "datasource", "targets", "gridPos", "fieldConfig", "options"],
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "type": {"enum": ["stat", "timeseries", "bargauge"]},
        "title": {"type": "string", "minLength": 1},
        "datasource": SOURCE,
        "targets": {"type": "array", "minItems": 1, "items": TARGET},
        "gridPos": PLACE,
        "fieldConfig": {
            "type": "object",
            "required": ["defaults", "overrides"],
            "properties": {
                "defaults": {"type": "object", "properties": {"unit": {"enum": ["short", "s", "percentunit"]}}}
            },
        },
    },
}
DASHBOARD = {
    "type": "object",
    "required": ["uid", "title", "tags", "schemaVersion", "time", "templating", "annotations", "panels"],
    "properties": {
        "uid": {"pattern": "^[a-z-]{1,40}$"},
        "title": {"type": "string"},
        "schemaVersion": {"type": "integer", "minimum": 36},
        "tags": {"contains": {"const": "keyturn"}},
        "templating": {
            "properties": {
                "list": {"contains": {"properties": {"type": {"const": "datasource"}, "name": {"const": "datasource"}}}}
            }
        },
        "panels": {"type": "array", "minItems": 1, "items": PANEL},
    },
}
"""The part of Grafana's dashboard model (its documentation, "JSON model") that these use."""


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_dashboard_is_one_and_its_panels_lie_apart(file: Path) -> None:
    board = json.loads(file.read_text())
    Draft202012Validator(DASHBOARD).validate(board)
    assert board["uid"] == file.stem
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in board["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)


def test_the_page_of_all_numbers_is_what_the_code_says() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert page == metrics_page(), "write it anew: python -m tools.metrics_page > docs/metrics.md"
