"""The table of benchmarks: each row with its goal, load and verdict, whatever could not be measured, and its JSON."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import table
from benchmarks.figures import Figures
from benchmarks.table import GROUPS, Group, Result, Row

ROOT = Path(__file__).parents[2]
MISSED = Row("seconds", "a figure that is too high", 1.5, " s")
RATE = Row("rate", "a rate that is high enough", 300_000, "/s", least=True)
ABSENT = Row("absent", "a figure that its group does not report", 1)


def measured(answers: dict[str, Figures | str], rows: dict[str, list[Row]], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The table of these groups, with these answers instead of measurements."""
    groups = {name: Group(dict, 1, given) for name, given in rows.items()}
    monkeypatch.setattr(table, "GROUPS", groups)
    return table.table(list(groups), 60, lambda name, _: (answers[name], 2.5))


def test_each_row_has_its_goal_its_load_and_its_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers: dict[str, Figures | str] = {"one": {"seconds": 2.0, "rate": 310_000.0}, "two": "NotFound: no bao"}
    found = measured(answers, {"one": [MISSED, RATE, ABSENT], "two": [MISSED]}, monkeypatch)
    assert [result.verdict for result in found] == ["MISSED", "met", "not measured", "not measured"]
    assert found[1] == Result("one", RATE.what, "at least 300,000/s", 310_000.0, "310,000/s", 2.5, "met")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[-4:] == ["2.00", "s", "2.5", "MISSED"]
    assert f"  {MISSED.what} (2.00 s, goal 1.5 s)" in lines
    assert f"  {MISSED.what} (NotFound: no bao, goal 1.5 s)" in lines


def test_groups_beyond_the_time_are_listed_and_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "GROUPS", {"one": Group(dict, 1, [MISSED])})
    (result,) = table.table(["one"], -1, lambda *_: pytest.fail("it was measured"))
    assert (result.verdict, result.shown) == ("not measured", "no time was left")


def test_a_group_without_its_server_reports_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Figures:
        raise OSError("no bao")

    for name, measure in {"missing": missing, "fine": lambda: {"seconds": 1.0}}.items():
        monkeypatch.setattr(table, "GROUPS", {name: Group(measure, 1, [MISSED])})
        table.measure_here(name, tmp_path / name)
    assert json.loads((tmp_path / "missing").read_text()) == "OSError: no bao"
    assert json.loads((tmp_path / "fine").read_text()) == {"seconds": 1.0}


def test_each_row_is_listed_once() -> None:
    rows = [row.what for group in GROUPS.values() for row in group.rows]
    assert len(rows) == len(set(rows)) > 30
    assert all(len({row.key for row in group.rows}) == len(group.rows) for group in GROUPS.values())


def test_rows_that_do_not_exist_are_named() -> None:
    command = [sys.executable, "-m", "benchmarks.table", "--rows", "ledger,none"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no such rows: none" in done.stderr
