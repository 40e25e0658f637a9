"""What a rotation ends, what it checks before, and what it reports."""

from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from keyturn.core.errors import TerminalError, Unavailable
from keyturn.core.overrides import Waive
from keyturn.core.ports.stores import RemoteSecret
from keyturn.core.schedule.due import Trigger
from keyturn.rotation.outcome import Outcome, RunState, unsettled
from keyturn.rotation.retire import on_it, retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.record_store import load_record
from tests.rotation.helpers import remote, with_copy
from tests.support.hooks import eventually
from tests.support.lab import Declared, Lab, Opened
from tests.support.memory_store import MemoryStore

DOWN = Unavailable("write", "memory:x", "it is down", "Wait")
CONSUMERS = {"trainer": {"url": "http://localhost/trainer", "signing_key": "webhooks/trainer"}}


@pytest.fixture
def secret(lab: Lab) -> Declared:
    return with_copy(lab.alternating(grace="1h", consumers=("trainer",)))


@pytest.fixture
def opened(lab: Lab, secret: Declared) -> Opened:
    return lab.open(secret, consumers=CONSUMERS)


def now(opened: Opened, secret: Declared, **given: bool) -> Outcome:
    return rotate(opened.workspace, secret.path, Trigger.FORCE, **given)


def refused(lab: Lab, opened: Opened, secret: Declared) -> str:
    """What a second rotation says that changes nothing."""
    before = (lab.current(secret), load_record(opened.workspace, secret.path))
    with pytest.raises(TerminalError, match="is not retired: ") as error:
        now(opened, secret)
    assert f"keyturn rotate {secret.path} --now --end-previous" in error.value.hint
    assert "Nothing was changed" in error.value.hint
    after = (lab.current(secret), load_record(opened.workspace, secret.path))
    assert (after[0], after[1].rotation) == (before[0], before[1].rotation)
    assert lab.logs_in(secret.first)
    return error.value.problem


def test_a_second_rotation_now_does_nothing_while_the_grace_of_the_first_lasts(
    lab: Lab, opened: Opened, secret: Declared
) -> None:
    outcome = now(opened, secret)
    assert f"the credential before it (username {secret.users[0]}) still works; it ends " in outcome.previous
    assert "its grace ends" in refused(lab, opened, secret)
    opened.clock.advance(timedelta(hours=1))
    assert now(opened, secret).previous.startswith(
        f"ended the credential before version 2 (username {secret.users[0]})"
    )


def test_who_is_on_it_who_has_not_heard_and_what_serves_it_still_each_hold_a_rotation_back(
    lab: Lab, opened: Opened, secret: Declared
) -> None:
    opened.sender.silent["trainer"] = DOWN
    opened.store.refuses = DOWN
    now(opened, secret)
    opened.clock.advance(timedelta(hours=1))
    said = refused(lab, opened, secret)
    assert f"memory:{remote(secret)} is not in sync: stale" in said
    assert "trainer has not acknowledged version 2" in said
    opened.sender.silent.clear()
    opened.store.refuses = None
    rotate(opened.workspace, secret.path)
    opened.clock.advance(timedelta(hours=1))  # which count from the copy that is in sync now
    with closing(lab.connect(secret.first)):
        assert f"pg:{secret.users[0]} has 1 open sessions" in refused(lab, opened, secret)
    assert eventually(lambda: on_it(opened.workspace, secret.path).held_by == ())  # type: ignore[union-attr]
    assert now(opened, secret).state is RunState.ROTATED


def test_ending_the_previous_one_names_whom_it_cuts_off(lab: Lab, opened: Opened, secret: Declared) -> None:
    opened.sender.silent["trainer"] = DOWN
    now(opened, secret)
    with closing(lab.connect(secret.first)):
        waiting = on_it(opened.workspace, secret.path)
        assert waiting is not None
        assert waiting.names == f"username {secret.users[0]}"
        assert waiting.held_by[1:] == (
            "trainer has not acknowledged version 2",
            f"pg:{secret.users[0]} has 1 open sessions",
        )
        outcome = now(opened, secret, end_previous=True)
    assert outcome.state is RunState.ROTATED
    ended, _, works = outcome.previous.partition(". Now ")
    assert ended.startswith(f"ended the credential before version 2 (username {secret.users[0]}); cut off: its grace")
    assert "trainer has not acknowledged version 2" in ended
    assert "1 open sessions" in ended
    assert works.startswith(f"the credential before it (username {secret.users[1]}) still works")


def test_a_copy_is_pushed_before_what_it_serves_is_ended(lab: Lab, secret: Declared) -> None:
    store = LosesAnswers("memory")
    opened = lab.open(secret, consumers=CONSUMERS, stores=lambda name: store)
    store.losing = 4
    now(opened, secret)
    store.losing = 2
    served: list[bool] = []
    strategy = opened.workspace.open_strategy(secret.path)
    disable = strategy.target.disable  # type: ignore[attr-defined]

    def looks(account: str, *, sequence: int) -> None:
        served.append(store.read(remote(secret)).reveal() == store.wanted(lab, secret))
        disable(account, sequence=sequence)

    strategy.target.disable = looks  # type: ignore[attr-defined]
    assert retire(opened.workspace, secret.path, Waive.EVERYTHING).retired
    assert served == [True]


class LosesAnswers(MemoryStore):
    """A store that writes nothing, or whose answers are lost, so many times."""

    losing = 0

    def write(self, *given: Any, **named: Any) -> RemoteSecret:
        self._maybe()
        return super().write(*given, **named)

    def _maybe(self) -> None:
        if self.losing:
            self.losing -= 1
            raise DOWN

    def wanted(self, lab: Lab, secret: Declared) -> str:
        """What the copy of CURRENT holds."""
        import json

        return json.dumps(lab.current(secret), sort_keys=True, separators=(",", ":"))


def test_a_copy_that_can_not_be_reached_is_named_by_what_ends_the_credential_it_serves(
    lab: Lab, opened: Opened, secret: Declared
) -> None:
    opened.store.refuses = DOWN
    now(opened, secret)
    retirement = retire(opened.workspace, secret.path, Waive.EVERYTHING)
    assert retirement.retired
    assert f"memory:{remote(secret)} is not in sync: stale" in retirement.message


def test_a_suspicion_ends_what_waits_and_says_whom_that_cut_off(lab: Lab, opened: Opened, secret: Declared) -> None:
    now(opened, secret)
    with closing(lab.connect(secret.first)):
        outcome = rotate(opened.workspace, secret.path, Trigger.COMPROMISE)
    assert outcome.previous.startswith(f"ended the credential before version 2 (username {secret.users[0]}); cut off: ")
    assert outcome.previous.endswith(f"Now ended the credential before version 3 (username {secret.users[1]})")
    assert not lab.logs_in(secret.first)


def test_a_suspected_credential_that_is_held_is_said_to_work_still(lab: Lab, opened: Opened, secret: Declared) -> None:
    opened.sender.silent["trainer"] = DOWN
    outcome = rotate(opened.workspace, secret.path, Trigger.COMPROMISE)
    assert outcome.previous == (
        f"the credential before it (username {secret.users[0]}) still works, though others may know it; held by: "
        f"trainer has not acknowledged version 2. End it at once: `keyturn retire {secret.path} --force`"
    )
    error = unsettled(outcome)
    assert error is not None
    assert "still works, though others may know it" in error.hint
    assert lab.logs_in(secret.first)


@pytest.fixture
def quiet(lab: Lab) -> dict[str, Declared]:
    """Secrets whose old credential does not wait for an end."""
    return {"changed in place": lab.single(grace="1h"), "can't revoke the old value": lab.generated(grace="1h")}


@pytest.mark.parametrize("said", ["changed in place", "can't revoke the old value"])
def test_where_nothing_is_ended_the_last_word_says_so_and_nothing_holds_the_next_rotation(
    lab: Lab, quiet: dict[str, Declared], said: str
) -> None:
    secret = quiet[said]
    opened = lab.open(secret)
    for _ in range(2):
        outcome = now(opened, secret)
        assert outcome.state is RunState.ROTATED
        assert said in outcome.previous
        assert "still works" not in outcome.previous
