"""Many secrets in one incident, each with a trouble of its own, and several incidents about one secret."""

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest

from keyturn.core.errors import CandidateRejected, KeyturnError, Superseded, Unavailable
from keyturn.core.notifications.notice_state import Heard
from keyturn.core.rotation_record import Stage
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.revocation import run
from keyturn.revocation.incidents import store as incident_store
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import IncidentStatus, Mode, SecretProgress, Step
from keyturn.revocation.selector import Selection
from keyturn.rotation.copies.push import sync_destinations
from keyturn.rotation.outcome import RunState
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace, _stands
from keyturn.rotation.state.notice_store import load_heard
from keyturn.rotation.state.record_store import load_record
from tests.revocation.site import CONSUMERS, Site
from tests.support.engines import OverPostgreSQL
from tests.support.hooks import Hooked, Once, raising
from tests.support.lab import Declared, Lab, Opened, fresh
from tests.support.places import single

pytestmark = pytest.mark.sampled(10, of="file")

KINDS = ["alternating", "single", "dynamic", "generated"]
LOST = Unavailable("end the sessions of", "pg", "the database does not answer", "It is tried again")
UNFIT = CandidateRejected("verify", "pg", "the password is too like the last one", "Choose other rules")


def living() -> str:
    """Another process that runs: the one that started this one."""
    parent = os.getppid()
    return f"{socket.gethostname()}/{parent}/{_stands(parent)[1]}"


class Crowd:
    """Thirty secrets, eight of which are in trouble."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.incident = lab, f"INC-{fresh()}"
        self.calm = tuple(copied(secret) for secret in (*(lab.generated() for _ in range(20)), lab.dynamic()))
        self.calm += (copied(lab.alternating()),)
        self.uncut, self.refused = copied(lab.alternating()), copied(lab.single())
        self.manual, self.absent = copied(lab.generated()), lab.generated()
        self.manual.data["rotation"] = {"strategy": "manual"}
        self.absent = copied(replace(self.absent, path=f"tests/{fresh()}"))
        self.held, self.frozen = copied(lab.alternating()), copied(lab.alternating())
        self.removed, self.idle = copied(lab.generated()), copied(lab.generated())
        self.troubled = (self.uncut, self.refused, self.manual, self.absent, self.held, self.frozen, self.removed)
        self.all = (*self.calm, *self.troubled, self.idle)
        self.opened = self.open(*self.all)
        for secret in self.all:
            if secret is not self.absent:
                assert all(one.in_step for one in sync_destinations(self.workspace, secret.path))
        self.leaked = {secret.path: SecretFields(secret.first) for secret in self.all if secret is not self.absent}

    def open(self, *declared: Declared) -> Opened:
        """A catalogue of these, without pauses."""
        opened = self.lab.open(*declared, consumers=CONSUMERS)
        opened.workspace = replace(opened.workspace, sleep=lambda seconds: None)
        return opened

    @property
    def workspace(self) -> Workspace:
        return self.opened.workspace

    def in_trouble(self) -> Workspace:
        """The same, with what some strategies suffer from."""

        def open_strategy(path: str) -> Any:
            strategy = self.workspace.open_strategy(path)
            if path == self.uncut.path:
                return Hooked(strategy, revoke=raising(LOST), revoke_found=raising(LOST))
            return Hooked(strategy, verify=raising(UNFIT)) if path == self.refused.path else strategy

        return replace(self.workspace, open_strategy=open_strategy)

    def without(self, workspace: Workspace, secret: Declared) -> Workspace:
        """The same, once somebody has taken a secret out of the catalogue."""
        rest = self.open(*(one for one in self.all if one is not secret))
        return replace(workspace, catalogue=rest.workspace.catalogue)

    def begin(self, workspace: Workspace, *secrets: Declared, incident: str = "") -> None:
        begin(workspace, incident or self.incident, Mode.REPLACE, *(one.path for one in secrets))

    def left(self, stands: IncidentStatus, secret: Declared) -> tuple[str, ...]:
        (one,) = (one for one in stands.secrets if one.path == secret.path)
        return one.left


def copied(secret: Declared) -> Declared:
    """The same with a copy."""
    return secret.having(destinations=[{"store": "memory", "name": secret.path}], consumers=["app"])


def begin(workspace: Workspace, incident: str, mode: Mode, *paths: str) -> None:
    """Open an incident about these, and cut."""
    run.begin(
        workspace,
        Selection(tuple(sorted(paths))),
        incident=incident,
        reason="leaked in a log",
        mode=mode,
        selector=", ".join(sorted(paths)),
        triggered_at=workspace.clock(),
        consent=Consent(len(paths)),
    )


def test_what_troubles_one_secret_is_told_of_it_in_plain_words_and_all_else_is_done(lab: Lab) -> None:
    crowd = Crowd(lab)
    other = f"INC-{fresh()}"
    begin(crowd.workspace, other, Mode.REPLACE, crowd.frozen.path)
    held = Site(lab, crowd.held, replace(crowd.opened, workspace=replace(crowd.workspace, holder=living()))).worker()
    held.workspace = replace(held.workspace, holder=living())
    attempt = held.installed()
    workspace = crowd.in_trouble()
    crowd.begin(workspace, *crowd.all)
    stands = run.finish(crowd.without(workspace, crowd.removed), crowd.incident)
    assert stands.open
    assert_all_done(crowd, stands, *crowd.calm, crowd.absent, crowd.held, crowd.frozen, crowd.idle)
    assert crowd.left(stands, crowd.uncut) == ("cut: the database does not answer. It is tried again",)
    assert crowd.left(stands, crowd.refused)[0] == f"replace: {UNFIT.problem}. {UNFIT.hint}"
    assert not lab.logs_in(crowd.leaked[crowd.refused.path]), "the old password is put back where nothing fits"
    assert crowd.left(stands, crowd.manual)[0].startswith("replace: a person replaces it. End it where it is honoured")
    gone = "the catalogue declares it no more. Put it back there until the incident is closed"
    assert crowd.left(stands, crowd.removed) == (f"replace: {gone}",)
    with pytest.raises(Superseded):
        held.workspace.open_strategy(held.path).install(attempt.change())
    assert lab.logs_in(lab.current(crowd.held))
    assert not lab.logs_in(attempt.candidate)
    assert run.finish(crowd.workspace, other).left == ()


def assert_all_done(crowd: Crowd, stands: IncidentStatus, *secrets: Declared) -> None:
    """Every step of these is done, the hub gives one version alone, and the store that one."""
    for secret in secrets:
        (one,) = (one for one in stands.secrets if one.path == secret.path)
        assert (one.left, set(one.done)) == ((), set(Step))
        info = crowd.workspace.hub.describe(secret.path)
        assert info is not None
        assert [version.version for version in info.versions if version.readable] == [one.version]
        assert crowd.opened.store.old_versions(secret.path) == {}
        old = crowd.leaked.get(secret.path)
        if old is not None and "password" in old:
            assert not crowd.lab.logs_in(old)
            assert crowd.lab.logs_in(crowd.lab.current(secret))


def test_once_the_troubles_are_over_the_incident_closes(lab: Lab) -> None:
    crowd = Crowd(lab)
    workspace = crowd.in_trouble()
    crowd.begin(workspace, *crowd.all)
    run.finish(crowd.without(workspace, crowd.removed), crowd.incident)
    current = crowd.workspace.hub.read(crowd.manual.path)
    assert current is not None
    lab.hub.write(crowd.manual.path, SecretFields({"value": "written by a person"}), cas=current.version)
    stands = run.finish(crowd.workspace, crowd.incident)
    assert (stands.left, stands.open) == ((), False)
    assert_all_done(crowd, stands, *crowd.all)


def test_a_person_who_writes_the_leaked_value_again_is_told_so(lab: Lab) -> None:
    secret = copied(lab.generated())
    secret.data["rotation"] = {"strategy": "manual"}
    site = Site.of(lab, secret)
    site.begin()
    lab.hub.write(secret.path, SecretFields(secret.first), cas=1)
    assert any("is the value that leaked" in said for said in run.finish(site.impatient(), site.incident).left)
    lab.hub.write(secret.path, SecretFields({"value": "another"}), cas=2)
    stands = run.finish(site.impatient(), site.incident)
    assert (stands.left, stands.open) == ((), False)
    assert readable(site) == [3]
    # From here on it is like any other: what somebody writes next is told by a sync.
    assert load_record(site.workspace, secret.path).frozen == ""
    kept = load_heard(site.workspace, [secret.path])[secret.path]
    assert isinstance(kept, Heard)
    assert (kept.version, kept.waiting) == (3, {})


def test_a_target_that_refuses_every_candidate_for_days_does_not_get_the_old_credential_back(lab: Lab) -> None:
    """The record remembers a few rotations alone, and each try closes three more."""
    site = Site.of(lab, lab.single())
    refusing = replace(
        site.impatient(),
        open_strategy=lambda path: Hooked(site.workspace.open_strategy(path), verify=raising(UNFIT)),
    )
    site.begin()
    for _ in range(3):
        run.finish(refusing, site.incident)
        assert not lab.logs_in(SecretFields(site.secret.first))
    stands = run.finish(site.impatient(), site.incident)
    assert (stands.left, stands.open) == ((), False)
    assert not lab.logs_in(SecretFields(site.secret.first))
    assert lab.logs_in(lab.current(site.secret))


def test_what_fails_again_and_again_is_told_once_so_that_the_incident_does_not_grow(lab: Lab) -> None:
    site = Site.of(lab, lab.generated())
    site.store.down = Unavailable("reach", "memory", "it does not answer", "Try again")
    site.begin()
    told = [len(run.finish(site.impatient(), site.incident).secrets[0].events) for _ in range(3)]
    assert told[0] == told[2]


# --- several incidents about one secret --------------------------------------------------------------------


@dataclass
class Pair:
    """Two incidents about the same secret."""

    site: Site
    first: str
    second: str

    @staticmethod
    def of(lab: Lab, kind: str) -> "Pair":
        secret: Declared = getattr(lab, kind)()
        return Pair(Site.of(lab, secret), f"INC-1-{fresh()}", f"INC-2-{fresh()}")

    @property
    def workspace(self) -> Workspace:
        return self.site.impatient()

    def begin(self, incident: str, mode: Mode) -> None:
        begin(self.workspace, incident, mode, self.site.secret.path)

    def finish(self, incident: str) -> IncidentStatus:
        return run.finish(self.workspace, incident)

    def progress(self, incident: str) -> SecretProgress:
        return incident_store.load_status(self.workspace, incident).secrets[0]

    def assert_over(self, stands: IncidentStatus) -> None:
        """It is closed, and the old value is nowhere."""
        assert (stands.left, stands.open) == ((), False)
        lab, secret = self.site.lab, self.site.secret
        if "password" in secret.first:
            assert not lab.logs_in(secret.first)
        assert 1 not in readable(self.site)
        assert self.site.leaked_copy not in held(self.site)

    def assert_works(self) -> None:
        """What is in force is let in, and what the store serves."""
        lab, secret = self.site.lab, self.site.secret
        current = lab.current(secret)
        assert "password" not in current or lab.logs_in(current)
        assert held(self.site) == [self.site.workspace.hub.read(secret.path) and text(self.site)]


def readable(site: Site) -> list[int]:
    """The versions that the hub still gives."""
    info = site.workspace.hub.describe(site.secret.path)
    return [one.version for one in info.versions if one.readable] if info else []


def held(site: Site) -> list[str]:
    """Every value that the store gives."""
    found = site.store.describe(site.secret.path)
    served = [site.store.read(site.secret.path).reveal()] if found else []
    return [*served, *(value.reveal() for value in site.store.old_versions(site.secret.path).values())]


def text(site: Site) -> str:
    """What the copy of CURRENT holds."""
    current = site.workspace.hub.read(site.secret.path)
    assert current is not None
    return single(site.workspace.secret(site.secret.path).destinations)[0].shape.render(current.fields).reveal()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("later", ["first", "second"])
def test_of_two_incidents_that_replace_it_both_end_proven_and_one_replacement_works(
    lab: Lab, kind: str, later: str
) -> None:
    pair = Pair.of(lab, kind)
    pair.begin(pair.first, Mode.REPLACE)
    pair.begin(pair.second, Mode.REPLACE)
    order = [pair.second, pair.first] if later == "first" else [pair.first, pair.second]
    for incident in order:
        pair.assert_over(pair.finish(incident))
        pair.assert_works()
    versions = {pair.progress(incident).version for incident in order}
    assert versions == {pair.site.workspace.hub.read(pair.site.secret.path).version}  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", KINDS)
def test_an_incident_that_is_opened_after_another_has_replaced_it_replaces_it_again(lab: Lab, kind: str) -> None:
    pair = Pair.of(lab, kind)
    pair.site.opened.sender.silent["app"] = Unavailable("tell", "app", "it does not answer")
    pair.begin(pair.first, Mode.REPLACE)
    assert pair.finish(pair.first).open
    between = lab.current(pair.site.secret)
    pair.site.opened.sender.silent.clear()
    pair.begin(pair.second, Mode.REPLACE)
    pair.assert_over(pair.finish(pair.second))
    pair.assert_over(pair.finish(pair.first))
    pair.assert_works()
    assert lab.current(pair.site.secret) != between
    assert "password" not in between or not lab.logs_in(between)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("later", ["first", "second"])
def test_one_that_wants_nothing_new_holds_up_an_earlier_one_that_replaces_until_a_person_rotates(
    lab: Lab, kind: str, later: str
) -> None:
    pair = Pair.of(lab, kind)
    pair.begin(pair.first, Mode.REPLACE)
    pair.begin(pair.second, Mode.REVOKE_ONLY)
    if later == "second":
        assert any(f"incident {pair.second} wants it left" in said for said in pair.finish(pair.first).left)
    pair.assert_over(pair.finish(pair.second))
    assert readable(pair.site) == []
    stands = pair.finish(pair.first)
    assert any(f"incident {pair.second} wants it left without a new value" in said for said in stands.left)
    assert rotate(pair.workspace, pair.site.secret.path, Trigger.FORCE).state is RunState.ROTATED
    pair.assert_over(pair.finish(pair.first))
    pair.assert_works()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("later", ["first", "second"])
def test_one_that_replaces_after_one_that_wanted_nothing_new_leaves_a_value_that_works(
    lab: Lab, kind: str, later: str
) -> None:
    pair = Pair.of(lab, kind)
    pair.begin(pair.first, Mode.REVOKE_ONLY)
    pair.begin(pair.second, Mode.REPLACE)
    order = [pair.second, pair.first] if later == "first" else [pair.first, pair.second]
    for incident in order:
        pair.assert_over(pair.finish(incident))
    pair.assert_works()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", list(Mode))
def test_an_incident_whose_run_died_within_its_cut_and_that_another_took_over_is_proven_as_well(
    lab: Lab, kind: str, mode: Mode
) -> None:
    pair = Pair.of(lab, kind)
    dying = dying_at_the_cut(pair.workspace)
    with pytest.raises(KeyboardInterrupt):
        begin(dying, pair.first, mode, pair.site.secret.path)
    assert pair.progress(pair.first).cut_at is None
    pair.begin(pair.second, Mode.REPLACE)
    pair.assert_over(pair.finish(pair.second))
    before = lab.current(pair.site.secret)
    pair.assert_over(pair.finish(pair.first))
    pair.assert_works()
    assert lab.current(pair.site.secret) == before


@pytest.mark.parametrize("kind", KINDS)
def test_two_incidents_whose_runs_both_died_within_their_cuts_are_finished_in_either_order(lab: Lab, kind: str) -> None:
    for turned in (False, True):
        pair = Pair.of(lab, kind)
        for incident in (pair.first, pair.second):
            with pytest.raises(KeyboardInterrupt):
                begin(dying_at_the_cut(pair.workspace), incident, Mode.REPLACE, pair.site.secret.path)
        order = [pair.first, pair.second]
        for incident in reversed(order) if turned else order:
            pair.assert_over(pair.finish(incident))
        pair.assert_works()


def dying_at_the_cut(workspace: Workspace) -> Workspace:
    """A run that ends where it is about to tell the target."""
    return replace(
        workspace, open_strategy=lambda path: Hooked(workspace.open_strategy(path), revoke=raising(KeyboardInterrupt()))
    )


@pytest.mark.parametrize("kind", KINDS)
def test_two_incidents_at_the_very_same_time_end_proven(lab: Lab, kind: str) -> None:
    for _ in range(3):
        pair = Pair.of(lab, kind)
        holders = [replace(pair.workspace, holder=f"host-{number}/1/1", patience=0.0) for number in (1, 2)]

        def whole(number: int, pair: Pair = pair, holders: list[Workspace] = holders) -> IncidentStatus:
            incident = (pair.first, pair.second)[number]
            begin(holders[number], incident, Mode.REPLACE, pair.site.secret.path)
            return run.finish(holders[number], incident)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(whole, (0, 1)))
        for incident in (pair.first, pair.second):
            pair.assert_over(pair.finish(incident))
        pair.assert_works()
        assert load_record(pair.workspace, pair.site.secret.path).open is None


def test_a_rotation_by_a_persons_wish_between_cut_and_replacement_is_the_replacement(lab: Lab) -> None:
    for kind in KINDS:
        pair = Pair.of(lab, kind)
        pair.begin(pair.first, Mode.REPLACE)
        rotate(pair.workspace, pair.site.secret.path, Trigger.FORCE)
        wished = lab.current(pair.site.secret)
        pair.assert_over(pair.finish(pair.first))
        pair.assert_works()
        assert lab.current(pair.site.secret) == wished


def test_what_a_person_has_put_in_force_since_is_spared_by_one_that_wants_nothing_new(lab: Lab) -> None:
    """Where it is unknown whether a value is honoured, its number tells."""
    for kind in KINDS:
        pair = Pair.of(lab, kind)
        pair.begin(pair.first, Mode.REVOKE_ONLY)
        rotate(pair.workspace, pair.site.secret.path, Trigger.FORCE)
        pair.assert_over(pair.finish(pair.first))
        pair.assert_works()
        assert readable(pair.site) == [lab.hub.read(pair.site.secret.path).version]  # type: ignore[union-attr]


def test_an_incident_that_another_closes_meanwhile_is_left_alone(lab: Lab) -> None:
    pair = Pair.of(lab, "generated")
    pair.begin(pair.first, Mode.REPLACE)
    late = replace(
        pair.workspace, hub=Hooked(pair.workspace.hub, destroy=Once(lambda: pair.assert_over(pair.finish(pair.first))))
    )
    stands = run.finish(late, pair.first)
    assert (stands.left, stands.open) == ((), False)
    pair.assert_works()


def test_nothing_is_ended_twice_once_it_was_noted_though_the_record_has_forgotten_the_cut(lab: Lab) -> None:
    """Sessions that can't be ended keep the cut open for weeks, in which the schedule goes on."""
    site = Site.of(lab, lab.alternating())
    workspace = replace(site.impatient(), open_strategy=lambda path: Sessions(site.workspace.open_strategy(path)))
    site.begin(workspace=workspace)
    assert run.finish(workspace, site.incident).open
    record = site.record()
    lab.keep(f"rotations/{site.secret.path}", replace(record, history=()).to_data())
    stands = run.finish(workspace, site.incident)
    assert stands.open
    assert lab.logs_in(lab.current(site.secret))
    assert site.record().open is None
    assert site.record().history == ()


class Sessions:
    """A strategy whose admin may refuse logins, and may not end sessions."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def revoke(self, credential: SecretFields, sequence: int) -> Any:
        """Refuse logins, and fail at the sessions."""
        self._inner.revoke(credential, sequence)
        raise KeyturnError("end the sessions of", "pg", "the admin may not end sessions", "Grant it pg_signal_backend")


def test_the_stages_tell_of_both_incidents(lab: Lab) -> None:
    pair = Pair.of(lab, "alternating")
    pair.begin(pair.first, Mode.REPLACE)
    pair.begin(pair.second, Mode.REPLACE)
    pair.finish(pair.second)
    pair.finish(pair.first)
    history = load_record(pair.workspace, pair.site.secret.path).history
    assert [past.stage for past in history] == [Stage.CUT, Stage.CUT, Stage.RETIRED]


def test_every_lease_of_the_role_is_ended_by_an_incident_that_takes_another_over_at_an_interrupted_mint(
    lab: Lab,
) -> None:
    """Nobody can tell whose a lease is that no version holds: what a dead mint has left, or an intruder's."""
    pair = Pair.of(lab, "dynamic")
    theirs = lab.database.issue(pair.site.secret.role)
    minting = Hooked(pair.workspace.open_strategy(pair.site.secret.path), mint=raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        rotate(replace(pair.workspace, open_strategy=lambda path: minting), pair.site.secret.path, Trigger.FORCE)
    assert load_record(pair.workspace, pair.site.secret.path).open.stage is Stage.MINTING  # type: ignore[union-attr]
    left = lab.database.issue(pair.site.secret.role)
    with pytest.raises(KeyboardInterrupt):
        begin(dying_at_the_cut(pair.workspace), pair.first, Mode.REPLACE, pair.site.secret.path)
    for incident in (pair.second, pair.first):
        if incident == pair.second:
            pair.begin(incident, Mode.REPLACE)
        pair.assert_over(pair.finish(incident))
    pair.assert_works()
    assert not lab.logs_in(theirs.fields)
    assert not lab.logs_in(left.fields), "what the dead mint may have left works still"


def test_sessions_that_are_tried_again_break_no_replacement_at_a_target_that_knows_no_numbers(lab: Lab) -> None:
    """A static role has one password, and every cut of it makes the engine change that."""
    role, _ = OverPostgreSQL(lab).static()
    secret, first = lab.generated(), lab.database.static_credential(role).reveal()
    path = f"tests/{fresh()}"
    lab.hub.write(path, SecretFields(first), cas=0)
    rotation = {"strategy": "vault-static-role", "target": "pg", "role": role, "accepts_gap": True, "interval": "30d"}
    data = {**secret.data, "rotation": {**rotation, "grace": "0s"}}
    site = Site.of(lab, Declared(path, data, first))
    workspace = replace(site.impatient(), open_strategy=lambda path: Sessions(site.workspace.open_strategy(path)))
    site.begin(workspace=workspace)
    run.finish(workspace, site.incident)
    stands = run.finish(site.impatient(), site.incident)
    assert (stands.left, stands.open) == ((), False)
    assert any("its account has a new credential" in said for said in stands.secrets[0].remains)
    assert lab.logs_in(lab.current(site.secret))
    assert not lab.logs_in(first)


def test_one_that_takes_over_from_a_dead_run_ends_what_that_one_knew_of_alone(lab: Lab) -> None:
    """The hub keeps no version of it any more: the record names the credential before CURRENT."""
    site = Site.of(lab, lab.alternating(grace="1h"))
    pair = Pair(site, f"INC-1-{fresh()}", f"INC-2-{fresh()}")
    before = site.rotated()
    lab.hub.destroy(site.secret.path, [1])
    with pytest.raises(KeyboardInterrupt):
        begin(dying_at_the_cut(pair.workspace), pair.first, Mode.REPLACE, site.secret.path)
    assert lab.logs_in(before)
    pair.begin(pair.second, Mode.REPLACE)
    assert not lab.logs_in(before)
    for incident in (pair.first, pair.second):
        pair.assert_over(pair.finish(incident))
