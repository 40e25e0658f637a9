"""When a fan-out begins nothing further. No server is needed for that."""

import pytest

from flows.support.fleet import FEW, Breaker, stopped
from flows.support.report import outcome_row
from keyturn.core.errors import TransientError


@pytest.mark.parametrize(
    ("total", "share", "borne"),
    [(200, 0.2, 40), (200, 0.0, FEW), (3, 1.0, FEW), (26, 0.2, FEW), (30, 0.2, 6), (0, 0.2, FEW)],
)
def test_a_share_of_the_fleet_may_fail_and_a_few_of_however_small_a_one(total: int, share: float, borne: int) -> None:
    breaker = Breaker(total, share)
    assert breaker.limit == borne
    breaker.failed = borne
    assert not breaker.open
    breaker.failed += 1
    assert breaker.open


def test_a_secret_that_was_not_begun_says_why_and_that_another_run_takes_it_up() -> None:
    error = stopped("a/b", Breaker(200, 0.1, failed=21))
    assert isinstance(error, TransientError)
    assert str(error).startswith("rotate a/b: not begun: 21 of 200 secrets have failed, more than 20. ")
    assert "the next run continues with the rest" in str(error)
    row = outcome_row("a/b", error)
    assert (row["state"], row["why"]) == ("not begun", str(error))
