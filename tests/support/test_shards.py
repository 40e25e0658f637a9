"""A deep run in shares: every file is in one, what has passed is not run again, and the summary counts all of them."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import shards
from tests.support.shards import Recorder, Shard, divide, summary

WEIGHTS = st.dictionaries(st.text(min_size=1, max_size=8), st.integers(1, 500), max_size=60)


@given(WEIGHTS, st.integers(1, 12))
def test_every_file_is_in_exactly_one_share_and_no_share_is_overloaded(weights: dict[str, int], count: int) -> None:
    shares = divide(weights, count)
    assert sorted(file for share in shares for file in share) == sorted(weights)
    loads = [sum(weights[file] for file in share) for share in shares]
    assert max(loads) - min(loads) <= max(weights.values(), default=0)


@pytest.mark.parametrize("text", ["", "3", "0/12", "13/12", "a/b", "3/12/4", "-1/2"])
def test_what_names_no_share_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected NUMBER/COUNT, such as 3/12"):
        Shard.parse(text)


def report(nodeid: str, when: str, outcome: str) -> Any:
    """What pytest says of one phase of a test."""
    return SimpleNamespace(nodeid=nodeid, when=when, outcome=outcome, failed=outcome == "failed", duration=0.5)


def run(shard: Shard, exitstatus: int, **outcomes: str) -> None:
    """Record a run in which each test's call had that outcome."""
    recorder = Recorder(shard)
    for name, outcome in outcomes.items():
        for when in ("setup", "call", "teardown"):
            recorder.pytest_runtest_logreport(report(f"f.py::{name}", when, outcome if when == "call" else "passed"))
    recorder.pytest_sessionfinish(SimpleNamespace(exitstatus=exitstatus))  # type: ignore[arg-type]


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of results of its own."""
    monkeypatch.setattr(shards, "DIRECTORY", tmp_path)
    return tmp_path / shards.checkout_state()


def test_what_has_passed_is_not_run_again_and_what_failed_or_was_cut_off_is(results: Path) -> None:
    shard = Shard(1, 1)
    run(shard, 1, a="passed", b="failed", c="skipped")
    with shard.results.open("a") as file:
        file.write('{"test": "f.py::d", "outc')
    items = [SimpleNamespace(nodeid=f"f.py::{name}", get_closest_marker=lambda name: None) for name in "abcd"]
    assert {item.nodeid for item in shards.not_in_shard(items, shard)} == {"f.py::a", "f.py::c"}
    lines, green = summary(results)
    assert not green
    assert "  failed: f.py::b" in lines


def test_all_shares_have_to_be_run_and_green(results: Path) -> None:
    assert summary(results) == (["all shards: NOT GREEN, 0 min 0 s"], False)
    run(Shard(1, 2), 0, a="passed")
    assert "shard 2/2: not run" in summary(results)[0]
    run(Shard(2, 2), 1, b="failed")
    assert not summary(results)[1]
    run(Shard(2, 2), 0, b="passed")
    lines, green = summary(results)
    assert green
    assert lines[-1].startswith("all shards: green")


def test_a_share_with_nothing_left_to_run_succeeds(results: Path) -> None:
    run(Shard(1, 1), 0, a="passed")
    session = SimpleNamespace(exitstatus=pytest.ExitCode.NO_TESTS_COLLECTED)
    Recorder(Shard(1, 1)).pytest_sessionfinish(session)  # type: ignore[arg-type]
    assert session.exitstatus == pytest.ExitCode.OK
    assert summary(results)[1]


def test_a_run_that_was_stopped_is_not_green(results: Path) -> None:
    run(Shard(1, 1), 0, a="passed")
    with Shard(1, 1).results.open("a") as file:
        file.write(json.dumps({"test": "f.py::b", "outcome": "passed", "seconds": 1}) + "\n")
    assert not summary(results)[1]
