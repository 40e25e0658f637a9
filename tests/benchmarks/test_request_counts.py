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
    "rotate": (28, 12, 831),
    "retire": (17, 2, 822),
    "history": (3, 0, 600),
    "revoke": (126, 32, 927),
}
"""Requests to the hub, requests to AWS, and modules other than the standard library's, on Python 3.11."""


def test_no_command_sends_more_requests_or_imports_more_modules_than_before() -> None:
    counted = costs()
    requests = {name: (cost.hub.total(), cost.aws.total()) for name, cost in counted.items()}
    assert requests == {name: (hub, aws) for name, (hub, aws, _) in PINNED.items()}
    if sys.version_info[:2] == (3, 11):
        assert {name: cost.modules for name, cost in counted.items() if cost.modules > PINNED[name][2]} == {}
