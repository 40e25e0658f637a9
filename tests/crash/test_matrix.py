"""A sample of the crash matrix for every strategy; ``make test-deep`` runs the whole of it."""

import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from keyturn.core.errors import CandidateRejected, Unprivileged
from keyturn.core.rotation_record import Stage
from keyturn.core.schedule.due import Trigger
from keyturn.rotation.outcome import RunState
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.record_store import load_record
from keyturn.strategies.registry import STRATEGIES
from tests.crash.kinds import KINDS, Alternating, Kind
from tests.crash.matrix import KILLED, LOST, Case, Result, Row
from tests.crash.site import AT_ONCE, Lane, Site
from tests.support.application import Application
from tests.support.hooks import eventually
from tests.support.lab import Declared
from tests.support.sampling import sample

pytestmark = [pytest.mark.slow, pytest.mark.sampled(8, of="file", kinds="nothing")]

ONE_IN = 16
"""Of each strategy one place in so many is tried, and FEWEST of each way at least."""
FEWEST = 2


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_rotation_stopped_anywhere_is_finished_by_the_next_run_and_nobody_notices(
    site: Site, kind: type[Kind]
) -> None:
    results: list[Result] = []
    row = Row(site, kind())
    cases = row.cases()
    row.run([*chosen(kind, KILLED, cases), *chosen(kind, LOST, cases)], results.append)
    print(kind.name, dict(Counter(case.how for case in cases)))  # noqa: T201
    assert [(one.case, one.problems) for one in results if one.problems] == []
    assert len(results) >= 2 * FEWEST


def chosen(kind: type[Kind], how: str, cases: list[Case]) -> list[Case]:
    """The places to try: some of each way to stop."""
    places = [case for case in cases if case.how == how]
    assert len(places) > 15
    return sample(f"{how}: {kind.name}", places, ONE_IN, FEWEST)


@pytest.mark.sampled(1)
def test_every_strategy_of_the_catalogue_has_a_row() -> None:
    # A rotation by hand is none of Keyturn's: there is nothing to stop.
    assert {kind.name.partition(",")[0] for kind in KINDS} == set(STRATEGIES) - {"manual"}


# A candidate that the target refuses: giving it up is made of external calls too.


class Refused(Alternating):
    """A secret whose second user lacks what the first one may do."""

    name = "alternating-users, refused"

    def make(self, site: Site) -> Declared:
        secret = site.lab.alternating()
        site.lab.sql(f"CREATE TABLE {secret.owner}_table (n int)")
        site.lab.sql(f"GRANT SELECT ON {secret.owner}_table TO {secret.users[0]}")
        return secret


def test_give_up_refused_candidates_can_be_killed_anywhere_and_the_next_run_finishes_that(site: Site) -> None:
    row = Row(site, Refused())
    lane = row.lanes[0]
    for watched in (False, True):  # the very first one makes something that later ones find, such as the ledger's name
        ended = lane.zygote.run(lane.job(Refused().make(site), watched=watched))
        assert ended.error.startswith(Unprivileged.__name__)
    places = sample("giving up, killed", list(enumerate(ended.boundaries)), ONE_IN, FEWEST)
    shares = list(zip(row.lanes, (places[start::AT_ONCE] for start in range(AT_ONCE)), strict=True))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(lambda share: [said for place in share[1] for said in killed(site, share[0], *place)], shares)
        assert [problem for share in found for problem in share] == []


def killed(site: Site, lane: Lane, number: int, place: str) -> list[str]:
    """What was wrong after a run died here, another one was refused as well, and a third one was allowed to go on."""
    secret = Refused().make(site)
    workspace = lane.workspace(secret)
    with Application(site.lab.hub, secret.path, site.lab.logs_in) as client:
        died = lane.zygote.run(lane.job(secret, number))
        found = [] if died.signal == signal.SIGKILL else [f"it was not killed: {died}"]
        with pytest.raises(CandidateRejected):
            rotate(workspace, secret.path)
        found += given_up(site, workspace, secret)
        site.lab.sql(f"GRANT SELECT ON {secret.owner}_table TO {secret.users[1]}")
        if rotate(workspace, secret.path, Trigger.FORCE).state is not RunState.ROTATED:
            found.append("the next run did not rotate")
        if not eventually(lambda: not retire(workspace, secret.path).held_by):
            found.append("the old credential was not retired")
    current = workspace.hub.read(secret.path)
    assert current is not None
    found += Refused().left(site, secret, current.fields)
    found += [f"a login with version {version} was refused" for version in client.failures]
    assert client.error is None
    return [f"killed at {place}: {problem}" for problem in found]


def given_up(site: Site, workspace: Workspace, secret: Declared) -> Iterator[str]:
    """CURRENT is as it was and works, the candidates' account is closed, nothing is open, and one was enough."""
    record = load_record(workspace, secret.path)
    if record.rotation or record.candidate or {past.stage for past in record.history} != {Stage.ABANDONED}:
        yield f"the record is {record}"
    if record.refusals != 1:
        yield f"{record.refusals} candidates were refused"
    if site.lab.current(secret) != secret.first or not site.lab.logs_in(secret.first):
        yield "CURRENT is not what it was"
    if site.lab.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", secret.users[1]) != [(False,)]:
        yield "the refused account is open"
