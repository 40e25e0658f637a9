"""The numbers of requests and imported modules of each command: a change that raises one must change it here."""

import sys
from typing import Final

from benchmarks.request_counts import costs

PINNED: Final = {
    "catalogue validate": (0, 0, 281),
    "sync: first": (30, 14, 813),
    "sync: unchanged": (14, 2, 767),
    "due": (22, 0, 691),
    "status": (37, 2, 854),
    "plan": (15, 2, 754),
    "rotate": (28, 12, 832),
    "retire": (17, 2, 823),
    "history": (3, 0, 600),
    "revoke": (132, 32, 927),
}
"""The most requests to the hub and to AWS, and the most modules other than the standard library's, on Python 3.11.

A revocation works in several threads. It sends 126 requests to the hub in most runs, and was seen to send 128.
"""


def test_no_command_sends_more_requests_or_imports_more_modules_than_before() -> None:
    counted = {name: (cost.hub.total(), cost.aws.total(), cost.modules) for name, cost in costs().items()}
    checked = 3 if sys.version_info[:2] == (3, 11) else 2
    assert counted.keys() == PINNED.keys()
    assert {
        name: numbers
        for name, numbers in counted.items()
        if any(number > most for number, most in list(zip(numbers, PINNED[name], strict=True))[:checked])
    } == {}
