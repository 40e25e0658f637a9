"""A revocation of every kind of secret, and of some kinds one that is killed at some of its boundaries."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from keyturn.revocation.incidents.incident import Mode
from tests.crash.kinds import KINDS, Alternating, Kind
from tests.crash.kinds.clouds import IamKey
from tests.crash.kinds.databases import Single
from tests.crash.kinds.engines import Dynamic
from tests.crash.matrix import Row
from tests.crash.revoked import Revocation
from tests.crash.site import AT_ONCE, Site
from tests.support.sampling import sample

pytestmark = [pytest.mark.slow, pytest.mark.sampled(12, of="file", kinds="nothing")]

ONE_IN = 24
"""Of the places to be killed at one in so many is tried, and FEWEST at least."""
FEWEST = 3


@pytest.mark.sampled(8)
@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_of_secret_is_revoked_and_it_is_proven(site: Site, kind: type[Kind], mode: Mode) -> None:
    assert len(Revocation(Row(site, kind()), mode).places()) > 20


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("kind", [Alternating, Single, Dynamic, IamKey], ids=lambda kind: kind.name)
def test_one_that_is_killed_anywhere_is_finished_by_the_next_run(site: Site, kind: type[Kind], mode: Mode) -> None:
    row = Row(site, kind())
    revocation = Revocation(row, mode)
    numbers = sample(f"{mode}, killed: {kind.name}", range(len(revocation.places())), ONE_IN, FEWEST)
    shares = [(lane, numbers[start::AT_ONCE]) for start, lane in enumerate(row.lanes)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(lambda share: list(revocation.killed(*share)), shares)
        assert [problem for share in found for problem in share] == []
    assert len(numbers) >= FEWEST
