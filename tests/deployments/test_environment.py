"""The variables that the local stack's processes are given."""

from deployments.local.environment import IN_BATCHES


def test_prefects_server_pauses_between_two_writes_although_it_cuts_intervals_to_whole_seconds() -> None:
    intervals = {name: value for name, value in IN_BATCHES.items() if name.endswith("FLUSH_INTERVAL")}
    assert intervals
    assert all(int(float(value)) >= 1 for value in intervals.values())
