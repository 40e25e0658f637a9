"""The variables that the local stack's processes are given."""

import stat
from pathlib import Path

import pytest

from keyturn.core.errors import NotFound
from local.environment import IN_BATCHES, kubernetes
from local.home import Stack


def test_prefects_server_pauses_between_two_writes_although_it_cuts_intervals_to_whole_seconds() -> None:
    intervals = {name: value for name, value in IN_BATCHES.items() if name.endswith("FLUSH_INTERVAL")}
    assert intervals
    assert all(int(float(value)) >= 1 for value in intervals.values())


def test_the_clusters_token_is_made_once_and_lies_in_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    stack = Stack(tmp_path, {"kubernetes": 6443}, "tenant", "client")
    told = kubernetes(stack)
    token = Path(told["KEYTURN_KUBERNETES_TOKEN_FILE"])
    kept = token.read_text()
    assert kept
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert kubernetes(stack) == told
    assert token.read_text() == kept
    assert not any(kept in value for value in told.values())


def test_a_stack_that_is_older_than_the_cluster_leads_to_no_other_one_and_says_how_to_add_it(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"find kubernetes: .*keyturn up"):
        kubernetes(Stack(tmp_path, {"aws": 5000}, "tenant", "client"))
