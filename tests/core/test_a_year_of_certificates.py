"""A year of certificates of 47 and of 6 days: each is renewed at the first look after two thirds of its life."""

from datetime import timedelta

import pytest

from tests.support.certificate_year import LOOK, YEAR, live_a_year


@pytest.mark.parametrize("days", [47, 6])
def test_every_certificate_is_renewed_in_time_and_nobody_is_paged(days: int) -> None:
    life, certificates = timedelta(days=days), 20
    lived = live_a_year(certificates, life)
    assert (lived.early, lived.paged) == (0, 0)
    least = 1 / 3 - 2 * LOOK / life
    assert lived.least_left > least
    assert lived.renewals >= certificates * (YEAR // (life * 2 / 3 + LOOK))
