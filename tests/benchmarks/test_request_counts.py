"""The requests, commits and imported modules of each command: a change that raises one must change it here."""

import sys
from typing import Final

from benchmarks.request_counts import LEAST, costs

PINNED: Final = {
    "catalogue validate": (0, 0, 0, 0, 287),
    "sync: first": (30, 14, 0, 4, 773),
    "sync: unchanged": (14, 2, 0, 1, 773),
    "due": (22, 0, 0, 1, 651),
    "status": (36, 2, 0, 1, 816),
    "plan": (15, 2, 0, 1, 761),
    "rotate": (27, 12, 0, 3, 792),
    "retire": (14, 2, 0, 3, 783),
    "history": (3, 0, 0, 0, 560),
    "revoke": (106, 32, 0, 25, 893),
    "keeper": (76, 38, 0, 1, 1821),
    "rotate: at a target": (22, 0, 4, 3, 654),
    "revoke: at a target": (119, 4, 15, 23, 895),
}
"""The most requests to the hub, AWS and the target, commits, and modules besides the standard library's (Python 3.11).

Threads that read the same first raise some by two or three: `revoke` sends 103 requests to the hub in most runs.
"""


def test_no_command_sends_more_requests_commits_more_or_imports_more_modules_than_before() -> None:
    counted = {name: cost.numbers for name, cost in costs().items()}
    checked = 5 if sys.version_info[:2] == (3, 11) else 4
    assert counted.keys() == PINNED.keys()
    assert {
        name: numbers
        for name, numbers in counted.items()
        if any(number > most for number, most in list(zip(numbers, PINNED[name], strict=True))[:checked])
    } == {}
    least = {name: sum(count for count, _ in reasons) for name, reasons in LEAST.items()}
    assert {name: count for name, count in least.items() if count > counted[name][0]} == {}
