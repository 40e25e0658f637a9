"""A year of certificates of 47 and of 6 days: each is renewed at the first look after two thirds of its life."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.certificate_year import LOOK, YEAR, live_a_year


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("days", "certificates"), [(47, 4), (6, 1)])
def test_every_certificate_is_renewed_in_time_no_handshake_fails_and_nobody_is_paged(
    days: int, certificates: int, tmp_path: Path
) -> None:
    life = timedelta(days=days)
    lived = live_a_year(certificates, life, tmp_path, timedelta(days=1))
    assert (lived.early, lived.paged, lived.failed) == (0, 0, 0)
    least = 1 / 3 - 2 * LOOK / life
    assert lived.least_left > least
    assert lived.renewals >= certificates * (YEAR // (life * 2 / 3 + LOOK))
    assert lived.handshakes > 3 * lived.renewals - certificates
    assert lived.intermediates == 3
