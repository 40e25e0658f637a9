"""Samples: all cases over the seeds, the same ones for the same seed, and never none."""

import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import sampling
from tests.support.sampling import ROOT, SEED_VARIABLE, sample, seed_of

SIZES = st.integers(1, 60)
SEEDS = st.integers(0, 2**32 - 1)
LABELS = st.text(max_size=20)


def sampled(seed: int, label: str, size: int, one_in: int, at_least: int = 1) -> list[int]:
    """Of the numbers up to ``size``, those of this seed."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv(sampling.DEEP_VARIABLE, raising=False)
        environment.setenv(SEED_VARIABLE, str(seed))
        return sample(label, range(size), one_in, at_least)


@given(SEEDS, LABELS, SIZES, st.integers(1, 20))
def test_seeds_in_a_row_choose_every_case_exactly_once(seed: int, label: str, size: int, one_in: int) -> None:
    stride = min(one_in, size)
    chosen = [case for one in range(seed, seed + stride) for case in sampled(one, label, size, one_in)]
    assert sorted(chosen) == list(range(size))


@given(SEEDS, LABELS, st.integers(0, 60), st.integers(1, 20), st.integers(1, 5))
def test_none_is_left_out_of_an_empty_table_alone(seed: int, label: str, size: int, one_in: int, at_least: int) -> None:
    chosen = sampled(seed, label, size, one_in, at_least)
    assert len(chosen) >= min(size, at_least)
    assert chosen == sorted(set(chosen))


def test_commits_together_choose_every_case_and_none_much_more_often_than_another() -> None:
    commits = [int.from_bytes(sampling.sha256(str(number).encode()).digest()[:4]) for number in range(2000)]
    chosen = Counter(case for seed in commits for case in sampled(seed, "label", 53, 10))
    assert set(chosen) == set(range(53))
    assert all(150 < count < 250 for count in chosen.values())


def test_tables_of_other_labels_begin_at_other_cases() -> None:
    assert {sampled(7, f"label {number}", 100, 10)[0] for number in range(200)} == set(range(10))


@pytest.fixture(autouse=True)
def ordinary_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are about samples, also when a deep run tries them."""
    monkeypatch.delenv(sampling.DEEP_VARIABLE, raising=False)


class Case:
    """A test of a table, as pytest has collected it."""

    def __init__(self, name: str, mark: pytest.Mark | None, file: str = "file", **params: object) -> None:
        self.nodeid, self.originalname = f"{file}::{name}", name.partition("[")[0]
        self.parent, self.callspec = SimpleNamespace(nodeid="file"), SimpleNamespace(params=params)
        self.mark, self.cls = mark, None
        self.fixturenames = ["openbao"] if file == "hub.py" else []

    def get_closest_marker(self, name: str) -> pytest.Mark | None:
        """The one that it has."""
        return self.mark


def test_of_tests_that_are_marked_some_of_each_kind_are_tried_and_of_the_others_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mark, kinds, modes = pytest.mark.sampled(2, each=("kind",)).mark, [object() for _ in range(5)], "abc"
    table: list[Any] = [Case(f"t[{kind}-{mode}]", mark, kind=kind, mode=mode) for kind in kinds for mode in modes]
    other: Any = Case("other", None)
    over: list[Any] = []
    for seed in range(2):
        monkeypatch.setenv(SEED_VARIABLE, str(seed))
        left = [case.nodeid for case in sampling.left_out([*table, other])]
        over += left
        tried = [case for case in table if case.nodeid not in left]
        assert {case.callspec.params["kind"] for case in tried} == set(kinds)
        assert len(tried) < len(table)
    assert sorted(over) == sorted(case.nodeid for case in table)


def test_of_a_file_some_tests_are_tried_and_of_files_some_are_tried_whole_but_those_that_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    within, whole = pytest.mark.sampled(3, of="file").mark, pytest.mark.sampled(2, of="files").mark
    items: list[Any] = [Case(f"t{number}", within, file="within.py") for number in range(6)]
    items += [Case(f"t{number}", whole, file=f"{name}.py") for name in "abcd" for number in range(3)]
    over: Counter[str] = Counter()
    for seed in range(6):
        monkeypatch.setenv(SEED_VARIABLE, str(seed))
        left = {item.nodeid for item in sampling.left_out(items)}
        over.update(left)
        assert sum(name.startswith("within") for name in left) == 4
        files = [{item.nodeid for item in items if item.nodeid.startswith(f"{name}.py")} for name in "abcd"]
        assert sum(file <= left for file in files) == sum(not file & left for file in files) == 2
        assert not any(
            item.nodeid.startswith(("within", "a")) for item in sampling.left_out(items, ["within.py", "a.py"])
        )
    assert {*over.values()} == {3, 4}


def test_tests_that_need_the_hub_are_sampled_without_a_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    one_in = sampling.WITH_HUB.args[0]
    items: list[Any] = [Case(f"t{n}", None, file) for file in ("hub.py", "plain.py") for n in range(2 * one_in)]
    over: Counter[str] = Counter()
    for seed in range(one_in):
        monkeypatch.setenv(SEED_VARIABLE, str(seed))
        over.update(item.nodeid for item in sampling.left_out(items))
    assert over == {f"hub.py::t{n}": one_in - 1 for n in range(2 * one_in)}
    assert sampling.left_out(items, ["hub.py"]) == []


def test_every_kind_that_a_file_has_is_drawn_whatever_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    marks = pytest.mark.sampled(10, of="file").mark, pytest.mark.sampled(10, of="file", kinds="row").mark
    items: list[Any] = [Case(f"t{n}[{kind}]", marks[0], kind=kind) for kind in "abc" for n in range(4)]
    items += [Case(f"t{n}[{kind}]", marks[1], "named.py", row=kind) for kind in "de" for n in range(4)]
    for seed in range(50):
        monkeypatch.setenv(SEED_VARIABLE, str(seed))
        left = {item.nodeid for item in sampling.left_out(items)}
        drawn = Counter(item.nodeid[-2] for item in items if item.nodeid not in left)
        assert drawn == dict.fromkeys("abcde", 1)


def test_this_run_draws_every_kind_of_every_table(pytestconfig: pytest.Config) -> None:
    drawn = pytestconfig.stash.get(sampling.DRAWN, {})
    assert [table for table, count in drawn.items() if not count] == []


def test_a_deep_run_tries_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sampling.DEEP_VARIABLE, "deep")
    assert sample("label", "abcdef", 3) == [*"abcdef"]
    assert sampling.examples(few=2, many=9) == 9
    assert "every case" in sampling.description()


def test_the_seed_is_that_of_the_commit_and_every_process_draws_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SEED_VARIABLE, raising=False)
    monkeypatch.delenv(sampling.DEEP_VARIABLE, raising=False)
    assert f"{SEED_VARIABLE}={seed_of(ROOT)} " in sampling.description()
    sampling.keep_seed()
    print_it = "from tests.support.sampling import sample; print(*sample('a label', range(1000), 37))"
    elsewhere = subprocess.run(
        [sys.executable, "-c", print_it], capture_output=True, text=True, check=True, cwd=ROOT, env=os.environ
    )
    assert elsewhere.stdout.split() == [str(one) for one in sample("a label", range(1000), 37)]


def test_each_commit_has_a_seed_of_its_own_and_without_git_each_day(tmp_path: Path) -> None:
    assert seed_of(tmp_path) == datetime.now(UTC).toordinal()
    repository = tmp_path / "repository"
    git = ["git", "-C", str(repository), "-c", "user.name=tests", "-c", "user.email=tests@example.com"]
    repository.mkdir()
    subprocess.run([*git, "init", "--quiet"], check=True)
    assert seed_of(repository / ".") == datetime.now(UTC).toordinal()
    seeds = []
    for number in range(2):
        subprocess.run([*git, "commit", "--quiet", "--allow-empty", f"--message={number}"], check=True)
        seed_of.cache_clear()
        seeds.append(seed_of(repository))
    assert len({*seeds, datetime.now(UTC).toordinal()}) == 3
    assert all(0 <= seed < 16**sampling.DIGITS for seed in seeds)
