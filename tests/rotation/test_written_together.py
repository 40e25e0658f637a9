"""What a whole rotation leaves in the ledger: its intent before anything is changed, and the rest at its end."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain

import pytest

from keyturn.core.errors import CandidateRejected, Unrecorded
from keyturn.core.ports.ledger import Entry, NewestVersion, Outcome
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.ledger.entries import TEXT_LIMIT, leaf, parse_leaf
from keyturn.rotation.outcome import RunState
from keyturn.rotation.run import rotate
from keyturn.rotation.state.journal import record_action, with_catalogue, written_together
from tests.rotation.helpers import remote, with_copy, worker
from tests.support.hooks import Hooked, raising
from tests.support.lab import Lab

FULL = Unrecorded("write", "the ledger", "the disk is full", "Free some space there")


@dataclass
class Commits:
    """A ledger that tells each write by itself. It takes ``room`` of them."""

    room: int = 100
    writes: list[list[Entry]] = field(default_factory=list)

    def append(self, entries: Sequence[Entry]) -> None:
        if len(self.writes) >= self.room:
            raise FULL
        self.writes.append(list(entries))

    def append_missing(self, entries: Sequence[Entry]) -> int:
        self.append(entries)
        return len(entries)

    def newest_versions(self, secrets: Collection[str]) -> Mapping[str, NewestVersion]:
        """It knows of none."""
        return {}

    def close(self) -> None:
        """Nothing is open."""

    @property
    def told(self) -> list[list[tuple[str, Outcome]]]:
        """The actions and outcomes of each write."""
        return [[(entry.action, entry.outcome) for entry in write] for write in self.writes]


def done(*actions: str) -> list[tuple[str, Outcome]]:
    return [(action, Outcome.DONE) for action in actions]


BEGUN = [("decide", Outcome.DONE), ("rotate", Outcome.BEGUN)]


def test_a_rotation_waits_for_the_ledger_twice_and_announces_every_step_before_the_first(lab: Lab) -> None:
    secret, ledger = with_copy(lab.alternating()), Commits()
    workspace = replace(lab.open(secret).workspace, ledger=ledger)
    assert rotate(workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
    assert ledger.told == [BEGUN, done("guard", "stage", "install", "verify", "promote", "push", "rotate")]
    announced = ledger.writes[0][-1].note
    assert announced.endswith(f"stage, install, promote, push to memory:{remote(secret)}")
    assert {entry.secret for entry in chain.from_iterable(ledger.writes)} == {secret.path}
    assert ledger.writes[1][-1].version == ledger.writes[1][-2].version == 2


def test_where_the_intent_can_not_be_written_nothing_is_changed(lab: Lab) -> None:
    secret = with_copy(lab.alternating())
    opened = lab.open(secret)
    with pytest.raises(Unrecorded):
        rotate(replace(opened.workspace, ledger=Commits(room=0)), secret.path, Trigger.FORCE)
    assert worker(lab, secret).record().version == 0
    assert lab.current(secret) == secret.first
    assert opened.store.writes == 0


def test_what_was_announced_is_finished_and_a_ledger_that_went_away_meanwhile_is_told(lab: Lab) -> None:
    secret = with_copy(lab.alternating())
    opened = lab.open(secret)
    with pytest.raises(Unrecorded):
        rotate(replace(opened.workspace, ledger=Commits(room=1)), secret.path, Trigger.FORCE)
    assert lab.logs_in(lab.current(secret))
    assert lab.current(secret) != secret.first


def test_a_step_that_fails_is_written_at_once_with_all_that_waited(lab: Lab) -> None:
    secret, ledger = lab.alternating(), Commits()
    workspace = replace(lab.open(secret).workspace, ledger=ledger)
    strategy = workspace.open_strategy(secret.path)
    refused = CandidateRejected("log in as", secret.path, "the target refuses the login", "")
    hooked = Hooked(strategy, verify=raising(refused))
    with pytest.raises(CandidateRejected):
        rotate(replace(workspace, open_strategy=lambda path: hooked), secret.path, Trigger.FORCE)
    failed = [("verify", Outcome.FAILED)]
    given_up = [*done("stage", "install"), ("abandon", Outcome.BEGUN)]
    assert ledger.told[:3] == [BEGUN, given_up, [*done("abandon"), *failed]]
    assert ledger.told[-1] == [("rotate", Outcome.FAILED)]
    assert not lab.logs_in(SecretFields({**secret.first, "username": secret.users[1]}))


def test_what_waits_is_written_with_the_next_write_when_the_ledger_is_back(lab: Lab) -> None:
    workspace, ledger = lab.open().workspace, Commits(room=0)
    workspace = replace(workspace, ledger=ledger)
    with written_together(workspace):
        with record_action(workspace, "one", changes=False):
            pass
        with pytest.raises(ValueError, match="two"), record_action(workspace, "two", changes=False):
            raise ValueError("two")
        ledger.room = 1
    assert ledger.told == [[("one", Outcome.DONE), ("two", Outcome.FAILED)]]


def test_an_action_that_was_not_announced_begins_with_an_entry_of_its_own(lab: Lab) -> None:
    ledger = Commits()
    workspace = replace(lab.open().workspace, ledger=ledger)
    with written_together(workspace), record_action(workspace, "rotate", "a", announcing=("stage",)):
        for action, secret in (("stage", "a"), ("stage", "b"), ("retire", "a")):
            with record_action(workspace, action, secret):
                pass
    assert ledger.told == [
        [("rotate", Outcome.BEGUN)],
        [("stage", Outcome.DONE), ("stage", Outcome.BEGUN)],
        [("stage", Outcome.DONE), ("retire", Outcome.BEGUN)],
        done("retire", "rotate"),
    ]


def test_the_entry_that_opens_a_run_tells_by_which_catalogue_and_the_others_do_not(lab: Lab) -> None:
    secret, ledger, digest = with_copy(lab.alternating()), Commits(), "c0ffee" * 10 + "cafe"
    workspace = replace(lab.open(secret).workspace, ledger=ledger)
    workspace = replace(workspace, catalogue=workspace.catalogue.model_copy(update={"digest": digest}))
    assert rotate(workspace, secret.path, Trigger.FORCE).state is RunState.ROTATED
    told = [entry for entry in chain.from_iterable(ledger.writes) if digest in entry.note]
    assert [(entry.action, entry.outcome) for entry in told] == [("rotate", Outcome.BEGUN)]
    assert told[0].note.endswith(f"push to memory:{remote(secret)}; catalogue {digest}")


def test_the_digest_stays_whole_beside_a_long_note_which_every_reader_of_the_ledger_reads() -> None:
    digest = "0" * 64
    assert with_catalogue("", digest) == f"catalogue {digest}"
    assert with_catalogue("why", "") == "why"
    long = with_catalogue("x" * 5000, digest)
    assert len(long) == TEXT_LIMIT
    assert long.endswith(f"x; catalogue {digest}")
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    opening = Entry(moment, "a", "rotate", Outcome.BEGUN, note=long)
    assert parse_leaf(leaf(1, opening)).entry == opening
