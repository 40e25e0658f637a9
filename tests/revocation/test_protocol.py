"""The steps of an incident: their order, repetition and end."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from keyturn.core.errors import TransientError, Unavailable
from keyturn.core.ports.conductor import Step as Asked
from keyturn.core.ports.conductor import conduct
from keyturn.revocation.incidents.incident import STEPS, Event, IncidentStatus, Mode, Result, SecretProgress, Step
from keyturn.revocation.proof import Check, CheckAnswer, CheckSubject
from keyturn.revocation.protocol import CONCLUDE, END_ACCESS, FEW, LOOK, PAUSE, see_through
from tests.revocation.incidents import TRIGGER, standing

ID = "INC-1"


@dataclass
class Stage:
    """An incident whose steps are done as they are asked for, but for those that fail so many times, and how.

    ``undone`` are steps that the first proof finds undone; ``away`` is how often the hub can't be asked.
    """

    status: IncidentStatus
    failing: dict[tuple[str, Step], int] = field(default_factory=dict)
    kind: str = "Unavailable"
    undone: tuple[Step, ...] = ()
    away: int = 0
    asked: list[tuple[str, Step]] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    concluded: int = 0

    def see_through(self, pauses: Sequence[float] = (1.0, 2.0), before: IncidentStatus | None = None) -> IncidentStatus:
        return conduct(see_through(ID, pauses, before), self.take)

    def take(self, asked: Asked) -> Any:
        if asked.verb is PAUSE:
            return self.pauses.append(*asked.arguments)
        if asked.verb is END_ACCESS:
            return None
        if asked.verb in (LOOK, CONCLUDE) and self.away:
            self.away -= 1
            raise Unavailable("look at", ID, "the hub is away", "Wait")
        if asked.verb is CONCLUDE:
            return self.conclude()
        return self.status if asked.verb is LOOK else self.advance(*asked.arguments)

    def conclude(self) -> IncidentStatus:
        self.concluded += 1
        over = all(set(STEPS[self.status.incident.mode]) <= set(secret.done) for secret in self.status.secrets)
        self.status = replace(self.status, incident=replace(self.status.incident, closed_at=TRIGGER if over else None))
        return self.status

    def advance(self, path: str, _: object, steps: tuple[Step, ...]) -> None:
        for step in steps:
            self.asked.append((path, step))
            self.lay(path, step)

    def lay(self, path: str, step: Step) -> None:
        """Do it, in the hub's words; raises what it fails with."""
        fails = self.failing.get((path, step), 0)
        self.failing[path, step] = fails - 1
        secrets = {secret.path: secret for secret in self.status.secrets}
        undone, self.undone = (self.undone, ()) if step is Step.PROVE else ((), self.undone)
        if fails > 0 or undone:
            event = Event(TRIGGER, step, Result.FAILED, "", "it is away", self.kind)
            done = tuple(each for each in secrets[path].done if each not in undone)
            secrets[path] = secrets[path].having(events=(*secrets[path].events, event), done=done)
        elif step not in secrets[path].done:
            checks = (Check(CheckSubject.HUB, "", CheckAnswer.CLEAR),) if step is Step.PROVE else ()
            secrets[path] = secrets[path].having(done=(*secrets[path].done, step), checks=checks)
        self.status = IncidentStatus(self.status.incident, tuple(secrets.values()))
        if fails > 0 or undone:
            raise TransientError("revoke", path, "it is away", "Wait")


def stage(*paths: str, mode: Mode = Mode.REPLACE, **options: Any) -> Stage:
    """An open incident of these secrets, of which nothing is done."""
    secrets = (SecretProgress(path, "generated") for path in paths)
    return Stage(standing(*secrets, mode=mode, closed_at=None), **options)


def last(stage: Stage, step: Step) -> int:
    return max(at for at, (_, asked) in enumerate(stage.asked) if asked is step)


def first(stage: Stage, step: Step) -> int:
    return min(at for at, (_, asked) in enumerate(stage.asked) if asked is step)


@pytest.mark.parametrize("count", [2, FEW + 1], ids=["few", "many"])
def test_all_are_cut_before_one_is_replaced_and_served_before_one_is_told_or_cleared(count: int) -> None:
    secrets = stage(*(f"a/{number}" for number in range(count)))
    assert not secrets.see_through().open
    assert last(secrets, Step.CUT) < first(secrets, Step.REPLACE)
    assert last(secrets, Step.PUSH) < min(first(secrets, Step.NOTIFY), first(secrets, Step.HUB))
    assert max(last(secrets, Step.NOTIFY), last(secrets, Step.FORGET)) < first(secrets, Step.PROVE)
    assert sorted(secrets.asked) == sorted((secret.path, step) for secret in secrets.status.secrets for step in Step)
    assert (secrets.pauses, secrets.concluded) == ([], 1)


@pytest.mark.parametrize("mode", Mode)
def test_each_mode_asks_for_its_own_steps(mode: Mode) -> None:
    secret = stage("a", mode=mode)
    secret.see_through()
    assert [step for _, step in secret.asked] == list(STEPS[mode])


def test_what_fails_stops_nothing_and_is_alone_tried_again() -> None:
    secrets = stage("a", "b", failing={("a", Step.PUSH): 2})
    assert not secrets.see_through().open
    assert secrets.asked[-2:] == [("a", Step.PUSH)] * 2
    assert secrets.asked.count(("b", Step.PROVE)) == 1
    assert (secrets.pauses, secrets.concluded) == ([1.0, 2.0], 3)


def test_what_only_a_person_mends_is_not_tried_again() -> None:
    secret = stage("a", failing={("a", Step.PUSH): 9}, kind="Denied")
    assert secret.see_through().open
    assert (secret.pauses, secret.concluded) == ([], 1)


def test_it_ends_with_its_last_pause_though_something_is_left() -> None:
    secret = stage("a", failing={("a", Step.CUT): 9})
    assert secret.see_through().open
    assert secret.pauses == [1.0, 2.0]


def test_what_the_proof_finds_undone_is_done_again_in_the_same_run() -> None:
    secret = stage("a", undone=(Step.PUSH, Step.FORGET))
    assert not secret.see_through().open
    assert secret.asked[-3:] == [("a", Step.PUSH), ("a", Step.FORGET), ("a", Step.PROVE)]


def test_what_was_done_before_is_passed_over_where_it_is_known() -> None:
    secret = stage("a")
    before = IncidentStatus(secret.status.incident, (SecretProgress("a", "generated", done=(Step.CUT, Step.REPLACE)),))
    secret.see_through(before=before)
    assert secret.asked[0] == ("a", Step.PUSH)


@pytest.mark.parametrize("given_up", ["", "looked at by hand"])
def test_one_that_is_closed_is_left_alone(given_up: str) -> None:
    secret = stage("a")
    secret.status = standing(*secret.status.secrets, closed_at=TRIGGER, given_up=given_up)
    assert secret.see_through() == secret.status
    assert (secret.asked, secret.pauses, secret.concluded) == ([], [], 0)


def test_a_hub_that_is_away_for_a_while_is_asked_again_and_for_good_is_told() -> None:
    assert not stage("a", away=2).see_through().open
    with pytest.raises(Unavailable, match="the hub is away"):
        stage("a", away=3).see_through()
