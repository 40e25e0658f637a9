"""Retiring is saved before the target changes, and then excludes a rollback."""

from collections.abc import Callable, Mapping
from functools import partial
from types import FrameType

import pytest

from keyturn.core.errors import KeyturnError, Superseded
from keyturn.core.overrides import Waive
from keyturn.core.rotation_record import Rotation, Stage
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.previous_targets import Retirement
from keyturn.rotation.retire import retire
from keyturn.rotation.rollback import rollback
from tests.rotation.helpers import Worker, worker
from tests.support.boundaries import Boundaries
from tests.support.hooks import ELSEWHERE, After, Once, dead_holder, raising
from tests.support.lab import Declared, Lab

pytestmark = pytest.mark.sampled(4, of="file")

LATE = "that-is/2/2"
"""A holder of whom nobody here can tell whether it runs."""


class Interrupted(Boundaries):
    """Right before external call number ``at`` something else happens, as if this process had been suspended there."""

    def __init__(self, at: int, meanwhile: Callable[[], object]) -> None:
        super().__init__()
        self.at = at
        self.meanwhile = meanwhile

    def _reached(self, what: str, frame: FrameType) -> None:
        super()._reached(what, frame)
        if len(self.names) - 1 == self.at:
            self.meanwhile()


@pytest.fixture
def secret(lab: Lab) -> Declared:
    return lab.alternating()


def promoted(lab: Lab, secret: Declared) -> Rotation:
    return worker(lab, secret).promoted().rotation


def taken_back(lab: Lab, secret: Declared, token: str) -> str:
    """What a rollback in another process ended in."""
    workspace = worker(lab, secret, "another/3/3").workspace
    try:
        return str(rollback(workspace, secret.path, token, "the canary is not well").stage)
    except KeyturnError as error:
        return type(error).__name__


def test_a_retirement_suspended_anywhere_never_ends_what_a_rollback_has_put_in_force(lab: Lab) -> None:
    seen, at = set(), 0
    while True:
        secret = lab.alternating()
        token, said = promoted(lab, secret).token, list[str]()
        late = worker(lab, secret, LATE)
        rollback = partial(taken_back, lab, secret, token)
        with Interrupted(at, lambda rollback=rollback, said=said: said.append(rollback())):  # type: ignore[misc]
            retirement = retire(late.workspace, secret.path, Waive.GRACE)
        if not said:
            break
        before, made = (lab.hub.read(secret.path, version) for version in (1, 2))
        assert before is not None
        assert made is not None
        assert lab.logs_in(lab.current(secret)), (at, said)
        # Taken back first: what waits for its end is the candidate by then. Begun to end first: not taken back.
        current, other = (before, made) if said == ["reverted"] else (made, before)
        assert current.fields.holds(SecretFields({"username": lab.current(secret)["username"]})), (at, said)
        assert lab.logs_in(other.fields) is not retirement.retired, (at, said, retirement)
        seen.add((said[0], retirement.retired))
        at += 1
    assert at > 10
    assert seen >= {("reverted", True), ("Superseded", True)}


def test_what_was_begun_to_be_ended_is_not_put_back(lab: Lab, secret: Declared) -> None:
    rotation = promoted(lab, secret)
    stuck = worker(lab, secret, dead_holder()).hooking("strategy", retire=raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        retire(stuck.workspace, secret.path)
    assert stage(lab, secret) is Stage.RETIRING
    with pytest.raises(Superseded, match="the credential before version 2 is being ended"):
        rollback(worker(lab, secret).workspace, secret.path, rotation.token, "the canary is not well")
    assert lab.logs_in(secret.first)
    assert retire(worker(lab, secret).workspace, secret.path).retired
    assert not lab.logs_in(secret.first)
    assert lab.logs_in(lab.current(secret))


def test_what_a_person_has_put_in_force_again_is_spared_also_once_its_end_was_begun(lab: Lab, secret: Declared) -> None:
    promoted(lab, secret)
    by_hand = Once(lambda: lab.hub.write(secret.path, SecretFields(secret.first), cas=2))
    late = worker(lab, secret).hooking("hub", write_state=by_hand)
    assert not retire(late.workspace, secret.path).retired
    assert lab.logs_in(secret.first)
    (past,) = worker(lab, secret).record().history
    assert (past.stage, past.note) == (Stage.RETIRED, "not ended: CURRENT names the old credential again")


def test_two_retirements_at_once_do_not_race(lab: Lab, secret: Declared) -> None:
    promoted(lab, secret)
    seen = list[Retirement]()
    elsewhere = worker(lab, secret, ELSEWHERE)
    first = worker(lab, secret).hooking(
        "strategy", retire=Once(lambda: seen.append(retire(elsewhere.workspace, secret.path)))
    )
    assert retire(first.workspace, secret.path).retired
    (second,) = seen
    assert not second.retired
    assert "is held by process" in second.held_by[0]


def test_a_retirement_that_was_taken_over_does_not_touch_the_target(lab: Lab, secret: Declared) -> None:
    promoted(lab, secret)
    late = worker(lab, secret, dead_holder())

    # Right after it has saved that it begins, another run takes over, ends it, and rotates on to the same account.
    def newer() -> None:
        assert retire(worker(lab, secret).workspace, secret.path).retired
        worker(lab, secret).promoted()

    held_up = late.hooking("hub", read=After(1, newer))
    assert not retire(held_up.workspace, secret.path).retired
    assert lab.logs_in(lab.current(secret))
    assert lab.current(secret)["username"] == secret.users[0]


def stage(lab: Lab, secret: Declared) -> Stage | None:
    """Where the secret's rotation stands."""
    rotation = worker(lab, secret).record().rotation
    return rotation.stage if rotation else None


def test_the_same_worker_goes_on_with_what_it_began(lab: Lab, secret: Declared) -> None:
    promoted(lab, secret)
    run = Worker(worker(lab, secret).workspace, secret.path)
    strategy = run.workspace.open_strategy(secret.path)

    def ends_and_dies(credential_id: Mapping[str, str], sequence: int) -> None:
        strategy.retire(credential_id, sequence)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retire(run.hooking("strategy", retire=ends_and_dies).workspace, secret.path)
    assert retire(run.workspace, secret.path).retired
    assert [past.stage for past in run.record().history] == [Stage.RETIRED]
