"""A revocation of every kind of secret, killed at some of its boundaries; KEYTURN_CRASH_EVERY=1 tries all of them."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from keyturn.revocation.incident import Mode
from tests.crash.kinds import KINDS, Alternating, Kind
from tests.crash.kinds.clouds import IamKey
from tests.crash.kinds.databases import Single
from tests.crash.kinds.engines import Dynamic
from tests.crash.matrix import Row
from tests.crash.revoked import Revocation
from tests.crash.site import AT_ONCE, Site
from tests.support.lab import Lab

pytestmark = pytest.mark.slow

EVERY = int(os.environ.get("KEYTURN_CRASH_EVERY", "13"))


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Site]:
    with Site(lab) as made:
        yield made


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_of_secret_is_revoked_and_it_is_proven(site: Site, kind: type[Kind], mode: Mode) -> None:
    with Row(site, kind()) as row:
        assert len(Revocation(row, mode).places()) > 20


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("kind", [Alternating, Single, Dynamic, IamKey], ids=lambda kind: kind.name)
def test_one_that_is_killed_anywhere_is_finished_by_the_next_run(site: Site, kind: type[Kind], mode: Mode) -> None:
    with Row(site, kind()) as row:
        revocation = Revocation(row, mode)
        numbers = range(len(revocation.places()))[EVERY // 2 :: EVERY]
        shares = [(lane, numbers[start::AT_ONCE]) for start, lane in enumerate(row.lanes)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = pool.map(lambda share: list(revocation.killed(*share)), shares)
            assert [problem for share in found for problem in share] == []
        assert len(numbers) > 2
