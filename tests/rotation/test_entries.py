"""Concurrent writers of one hub entry lose no change and stop retrying."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from keyturn.core.compare_and_set import ATTEMPTS, change_entry
from keyturn.core.errors import Contended
from keyturn.core.ports.hub import HubSecret
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.rollout import acknowledge
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.entries import current_entry, update_state
from keyturn.rotation.state.record_store import update_record
from tests.rotation.helpers import worker
from tests.support.hooks import Hooked
from tests.support.lab import Lab

WRITERS = 4
CHANGES = 5


def count_in(workspace: Workspace, place: str, change: Callable[[dict[str, int]], dict[str, int]]) -> dict[str, int]:
    """Change the counters that stand at a place of the hub."""

    def load() -> tuple[dict[str, int], int]:
        state = workspace.hub.read_state(place)
        return (json.loads(state.data["counters"]), state.version) if state else ({}, 0)

    def to_data(counters: dict[str, int]) -> dict[str, Any]:
        return {"counters": json.dumps(counters)}

    return update_state(workspace, place, load, change, to_data)


def one_more(counters: dict[str, int]) -> dict[str, int]:
    return {**counters, "all": counters.get("all", 0) + 1}


def test_no_change_of_several_writers_of_one_entry_is_lost(lab: Lab) -> None:
    secret = lab.generated()
    workspaces = [lab.open(secret, holder=f"host/{number}/0").workspace for number in range(WRITERS)]

    def write(number: int) -> None:
        for _ in range(CHANGES):
            count_in(
                workspaces[number], f"counters/{secret.path}", lambda there: {**there, "all": there.get("all", 0) + 1}
            )

    side_by_side(write, range(WRITERS))
    counted = count_in(workspaces[0], f"counters/{secret.path}", lambda there: there)
    assert counted == {"all": WRITERS * CHANGES}


def test_two_writers_of_current_each_lay_their_field_over_the_others(lab: Lab) -> None:
    secret = lab.generated()
    workspaces = [lab.open(secret).workspace for _ in range(2)]

    def write(number: int) -> None:
        for turn in range(CHANGES):
            entry = current_entry(workspaces[number], secret.path)
            change_entry(entry, lambda there: with_field(there, f"{number}-{turn}"), workspaces[number].pause)  # noqa: B023

    side_by_side(write, range(2))
    current = workspaces[0].hub.read(secret.path)
    assert current is not None
    assert {f"{number}-{turn}" for number in range(2) for turn in range(CHANGES)} <= current.fields.reveal().keys()


def with_field(there: HubSecret | None, name: str) -> HubSecret | None:
    return replace(there, fields=there.fields.merged(SecretFields({name: "there"}))) if there else None


def test_consumers_that_acknowledge_at_once_are_all_in_the_record(lab: Lab) -> None:
    secret = lab.alternating()
    first = worker(lab, secret)
    token = first.promoted().rotation.token
    names = [f"consumer-{number}" for number in range(2 * WRITERS)]
    side_by_side(lambda name: acknowledge(lab.open(secret).workspace, secret.path, token, [name]), names)
    rotation = first.record().retiring
    assert rotation is not None
    assert rotation.acknowledged == tuple(names)


def test_a_record_that_somebody_keeps_writing_is_given_up_with_a_word_on_who_it_is(lab: Lab) -> None:
    secret = lab.alternating()
    mine, theirs = worker(lab, secret, holder="here/1/0"), worker(lab, secret, holder="elsewhere/4711/0")
    theirs.staged()

    def write_first(path: str, *_: object, **__: object) -> None:
        record = theirs.record()
        update_record(theirs.workspace, secret.path, lambda _: record)

    hub = Hooked(mine.workspace.hub, write_state=write_first)
    pauses: list[float] = []
    workspace = replace(mine.workspace, hub=hub, sleep=pauses.append)
    with pytest.raises(Contended) as raised:
        update_record(workspace, secret.path, lambda record: replace(record, frozen="never"))
    told = str(raised.value)
    assert told.startswith(f"change the record of {secret.path}: others keep writing it: {ATTEMPTS} times")
    assert "by process 4711 on elsewhere" in told
    assert len(pauses) == ATTEMPTS - 1
    assert sum(pauses) < 10
    assert theirs.record().frozen == ""
