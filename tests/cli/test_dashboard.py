"""`keyturn dashboard`: one page with names only, which runs no injected code."""

import base64
import dataclasses
import hashlib
import html
import os
import re
import stat
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from keyturn.cli.app import app
from keyturn.cli.programs.hearing import Answer, Hearing
from keyturn.cli.secrets.dashboard import Drawing
from keyturn.cli.secrets.overview import seen_in_hub
from keyturn.core.ports.hub import ROTATED_AT
from keyturn.core.sensitive import SecretFields
from keyturn.pages.dashboard import Dashboard, Level, OtherLine, SecretLine
from keyturn.pages.dashboard_page import write_dashboard
from keyturn.rotation.copies.push import CopyState, look_at_copies, push_destination
from local.support.ports import free_port
from tests.support.lab import Lab, catalogue_data
from tests.support.places import single
from tests.support.world import REGION

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WELL = SecretLine(
    "ml/well", "ana", "internal", "generated", Level.WELL, ["version 3"], 10, 30, NOW + timedelta(days=20)
)
LATE = SecretLine(
    "ml/late", "bea", "restricted", "manual", Level.BAD, ["late, due now"], 40, 30, NOW - timedelta(days=9)
)


class Page(HTMLParser):
    """What a browser would make of a page: the texts of rows, and every element's name and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append("")

    def handle_data(self, data: str) -> None:
        if self.rows:
            self.rows[-1] += f"{data} "


def board(*secrets: SecretLine, **more: Any) -> Dashboard:
    return Dashboard(NOW, "https://hub.example", "default", secrets, **more)


def test_what_needs_somebody_comes_first_and_is_counted() -> None:
    others = [OtherLine("service", "follow", Level.BAD, "does not run"), OtherLine("key", "kms", Level.WELL, "in use")]
    made = board(WELL, LATE, others=others, copies=[("in sync", 7), ("update", 1)])
    assert made.worst is Level.BAD
    assert made.tiles == [
        ("2", "secrets"),
        ("1", "need action"),
        ("0", "in progress"),
        ("7 of 8", "copies in sync"),
        ("1", "service: open or unhealthy"),
    ]
    rows = [" ".join(row.split()) for row in Page(write_dashboard(made)).rows]
    assert [row.split()[:2] for row in rows if row.startswith("ml")] == [["ml/", "late"], ["ml/", "well"]]
    assert board(WELL).worst is Level.WELL
    assert board(WELL, unseen=["incidents: the hub denies it"]).worst is Level.UNKNOWN


def test_the_only_script_is_the_one_that_the_page_names_by_its_hash() -> None:
    page = write_dashboard(board(WELL, LATE))
    (script,) = re.findall("<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (style,) = re.findall("<style>(.*?)</style>", page, re.DOTALL)
    look = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = html.unescape(page)
    assert f"script-src 'sha256-{digest}'; " in policy
    assert f"style-src 'sha256-{look}'; " in policy
    assert "default-src 'none'; " in policy
    loads = [attributes for _, attributes in Page(page).elements if {"src", "href"} & attributes.keys()]
    assert loads == []


@pytest.mark.parametrize("field", ["path", "owner", "strategy", "states", "copies", "consumers"])
def test_markup_in_a_name_stays_text(field: str) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    line = SecretLine(**{**vars(WELL), field: [evil] if field in ("states", "copies", "consumers") else evil})
    elements = Page(write_dashboard(board(line, unseen=[evil]))).elements
    assert [tag for tag, _ in elements].count("script") == 1
    assert "img" not in [tag for tag, _ in elements]


def test_the_command_writes_a_private_page_of_the_hubs_secrets_without_any_value(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(("VAULT_", "PREFECT_", "KEYTURN_HUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "no-stack"))
    monkeypatch.setenv("VAULT_ADDR", lab.world.hub_address)
    monkeypatch.setenv("VAULT_TOKEN", lab.world.hub_token)
    monkeypatch.setenv("VAULT_CACERT", lab.world.hub_ca or "")
    made, old = lab.generated(), lab.generated()
    lab.hub.patch_metadata(old.path, {ROTATED_AT: (datetime.now(UTC) - timedelta(days=400)).isoformat()})
    data = catalogue_data(lab.world, (made, old), {"kind": "aws-secrets-manager", "region": REGION}, {})
    for entry in data["secrets"].values():
        del entry["path"]
    (tmp_path / "all.yaml").write_text(yaml.safe_dump(data))
    file = tmp_path / "page" / "board.html"
    done = CliRunner().invoke(app, ["dashboard", "--catalogue", str(tmp_path), "--out", str(file)])
    assert done.exit_code == 0, done.output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    rows = [" ".join(row.split()) for row in Page(text).rows]
    first, second = (row for row in rows if row.startswith("tests/"))
    assert old.path.removeprefix("tests/") in first
    assert "400 d" in first
    assert made.path.removeprefix("tests/") in second
    values = [str(value) for secret in (made, old) for value in secret.first.values() if len(str(value)) > 8]
    assert values
    assert not [value for value in values if value in text]


def test_without_a_hub_the_page_lists_every_declared_secret_as_not_checked(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "no-stack"))
    monkeypatch.setenv("VAULT_ADDR", f"https://127.0.0.1:{free_port()}")
    monkeypatch.setenv("VAULT_TOKEN", "unused")
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.example/api")
    made = lab.generated()
    data = catalogue_data(lab.world, (made,), {"kind": "aws-secrets-manager", "region": REGION}, {})
    del data["secrets"][made.path]["path"]
    (tmp_path / "all.yaml").write_text(yaml.safe_dump(data))
    file = tmp_path / "board.html"
    done = CliRunner().invoke(app, ["dashboard", "--catalogue", str(tmp_path), "--out", str(file)])
    assert done.exit_code != 0
    text = file.read_text()
    assert "Not everything could be checked" in text
    assert "Not checked" in text
    rows = [" ".join(row.split()) for row in Page(text).rows]
    (row,) = (row for row in rows if made.path.rpartition("/")[2] in row)
    assert "unknown not checked" in row, rows
    assert any(
        (attributes.get("href") or "").startswith("https://prefect.example/artifacts/key/secret-")
        for _, attributes in Page(text).elements
    )


@pytest.mark.parametrize("update", ["create-only", "add-fields"])
def test_a_copy_that_keeps_an_older_version_on_purpose_is_in_sync(lab: Lab, update: str) -> None:
    made = lab.generated(destinations=[{"store": "memory", "name": f"kept-{update}", "update": update}])
    workspace = lab.open(made).workspace
    (place,) = single(workspace.catalogue.secret(made.path).destinations)
    push_destination(workspace, made.path, place)
    lab.hub.write(made.path, SecretFields({**made.first, "value": "another"}), cas=1)
    push_destination(workspace, made.path, place)
    assert look_at_copies(workspace, made.path)[0].state is CopyState.KEPT
    shown = Drawing(workspace, seen_in_hub(workspace)).board()
    (line,) = shown.secrets
    assert line.level is Level.WELL
    assert line.copies_summary == "1 of 1 in sync"
    assert line.copies == [f"memory in sync, {update}: it keeps what it has"]
    assert ("1 of 1", "copies in sync") in shown.tiles


def test_a_consumer_that_does_not_acknowledge_counts_as_notified(lab: Lab) -> None:
    workspace = lab.open(lab.generated()).workspace
    overview = seen_in_hub(workspace)
    hearings = tuple(Hearing(str(answer), answer) for answer in Answer)
    secrets = [dataclasses.replace(overview.secrets[0], consumers=hearings)]
    (line,) = Drawing(workspace, dataclasses.replace(overview, secrets=secrets)).board().secrets
    assert line.consumers_summary == f"3 of {len(Answer)} notified"
