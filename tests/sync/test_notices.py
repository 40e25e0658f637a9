"""Notices about manually written values reach each consumer once, despite crashes."""

import dataclasses
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from keyturn.cli.secrets.copies import CatalogueCopies
from keyturn.cli.secrets.secret_status import secret_statuses
from keyturn.core.errors import Denied, Invalid, Unavailable
from keyturn.core.overrides import Waive
from keyturn.core.schedule.due import Trigger
from keyturn.rotation.repair.abandon import abandon
from keyturn.rotation.repair.recover import choose, recover
from keyturn.rotation.repair.recoverable_values import values
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.notice_store import NOTICES, keep_look, part_of
from keyturn.sync.notices import HOLD, Notices, tell_written
from tests.rotation.helpers import Worker
from tests.support.hooks import ELSEWHERE, Hooked, Once, dead_holder, raising
from tests.support.lab import Lab
from tests.sync.notified import Audience, audience

pytestmark = pytest.mark.sampled(9, of="file")

GENERATED = {"strategy": "generated", "interval": "30d", "grace": "0s"}
SIGNING = {"strategy": "signing-key", "interval": "30d", "grace": "0s"}


@pytest.fixture
def people(lab: Lab) -> Iterator[Audience]:
    """Two consumers; everything there was has been looked at once."""
    with audience(lab, "app", "web") as made:
        made.declare("app")
        made.sync()
        yield made


def silence(people: Audience, consumer: str, error: Exception) -> Callable[..., Any]:
    """What lets a Keyturn fail to reach one consumer."""

    def deliver(name: str, *_: Any, **__: Any) -> None:
        if name == consumer:
            raise error

    return lambda: dataclasses.replace(people.open(), sender=Hooked(people.open().sender, deliver=deliver))


# --- who is told of what


def test_a_version_that_somebody_writes_is_told_once_to_each_consumer(people: Audience) -> None:
    path = people.declare()
    people.write(path)
    assert sorted(one.consumer for one in people.sync().told) == ["app", "web"]
    people.write(path)
    people.sync(path)
    for _ in range(2):
        assert people.sync().told == ()
    assert people.told(path) == people.told(path, "web") == [1, 2]
    assert people.consumers["app"].delivered == 2
    assert people.heard(path).told == ("app", "web")


def test_what_was_there_before_the_first_look_is_told_to_nobody(lab: Lab) -> None:
    with audience(lab, "app") as people:
        path = people.declare()
        people.write(path)
        people.sync()
        assert people.told(path) == []
        people.write(path)
        people.sync()
        assert people.told(path) == [2]


def test_a_consumer_or_a_secret_that_is_declared_later_is_not_told_of_what_was_there(people: Audience) -> None:
    path, later = people.declare("app"), people.declare("app")
    left = people.secrets.pop(later)
    people.write(path)
    people.write(later)
    people.sync()
    keep_look(people.open(), people.lab.hub.now() + timedelta(seconds=1))  # the hub tells whole seconds
    people.secrets[path]["consumers"] = ("app", "web")
    people.secrets[later] = left
    people.sync()
    assert (people.told(path, "web"), people.told(later)) == ([], [])
    people.write(path)
    people.write(later)
    people.sync()
    assert (people.told(path, "web"), people.told(later)) == ([2], [2])


def test_what_a_rotation_has_put_in_force_is_told_by_it_and_a_field_added_by_hand_by_the_sync(people: Audience) -> None:
    path = people.declare("app", rotation=GENERATED)
    workspace = people.open()
    rotate(workspace, path, Trigger.FORCE)
    people.sync()
    assert (people.told(path), people.consumers["app"].delivered) == ([1], 1)
    assert people.heard(path).rotated
    fields = workspace.hub.read(path).fields  # type: ignore[union-attr]
    people.write(path, **fields.reveal(), added="by hand")
    people.sync()
    rotate(workspace, path, Trigger.FORCE)
    people.sync()
    assert (people.told(path), people.consumers["app"].delivered) == ([1, 2, 3], 3)


def test_what_keyturn_writes_itself_is_no_news(people: Audience) -> None:
    """Giving a candidate up writes CURRENT again, and retiring takes the old key out of the set."""
    given_up, tidied = people.declare("app", rotation=GENERATED), people.declare("app", rotation=SIGNING)
    workspace = people.open()
    people.write(given_up, value="by hand")
    people.sync()
    abandon(workspace, Worker(workspace, given_up).staged(), "a test wants it so")
    rotate(workspace, tidied, Trigger.FORCE)
    rotate(workspace, tidied, Trigger.FORCE)
    people.sync()
    retire(workspace, tidied, Waive.EVERYTHING)
    for _ in range(2):
        people.sync()
    versions = {path: people.lab.hub.describe(path).version for path in (given_up, tidied)}  # type: ignore[union-attr]
    assert versions == {given_up: 2, tidied: 3}
    assert (people.told(given_up), people.told(tidied)) == ([1], [1, 2])
    assert (people.heard(given_up).version, people.heard(given_up).told) == (2, ("app",))
    assert people.heard(tidied).rotated


def test_what_a_rotation_told_of_and_keyturn_wrote_again_before_anybody_looked_is_no_news(people: Audience) -> None:
    path = people.declare("app", rotation=GENERATED)
    workspace = people.open()
    rotate(workspace, path, Trigger.FORCE)
    retire(workspace, path, Waive.EVERYTHING)
    abandon(workspace, Worker(workspace, path).staged(), "a test wants it so")
    people.sync()
    assert people.heard(path).version == 2
    assert (people.told(path), people.consumers["app"].delivered) == ([1], 1)


def test_an_older_value_that_is_put_back_is_told_and_an_undeleted_version_is_not(people: Audience) -> None:
    path = people.declare("app")
    people.write(path, x="1")
    people.sync()
    people.write(path, x="2")
    people.sync()
    people.write(path, x="1")
    people.sync()
    kv = people.lab.root.secrets.kv.v2
    kv.delete_latest_version_of_secret(path, mount_point="secret")
    people.sync()
    kv.undelete_secret_versions(path, [3], mount_point="secret")
    people.sync()
    assert people.told(path) == [1, 2, 3]
    people.write(path, x="3")
    people.write(path, x="1")
    people.sync()
    assert people.told(path) == [1, 2, 3, 5]


def test_a_secret_that_was_removed_and_written_anew_counts_from_1_and_is_told_where_its_value_is_another(
    people: Audience,
) -> None:
    path = people.declare("app", destinations=[])
    remove = people.lab.root.secrets.kv.v2.delete_metadata_and_all_versions
    people.write(path, x="1")
    people.sync()
    remove(path, mount_point="secret")
    people.sync()
    people.write(path, x="1")
    assert people.sync().told == ()
    remove(path, mount_point="secret")
    people.write(path, x="2")
    assert [one.version for one in people.sync().told] == [1]
    assert people.told(path) == [1, 1]


def test_a_value_that_is_recovered_from_a_copy_is_no_news_to_who_has_heard_of_it(people: Audience) -> None:
    path = people.declare("app")
    for value in ("1", "2"):
        people.write(path, x=value)
        people.sync()
    people.lab.root.secrets.kv.v2.delete_metadata_and_all_versions(path, mount_point="secret")
    assert people.sync().told == ()
    workspace = people.open()
    found = values(workspace, path)
    recover(workspace, found, choose(found, untested=True))
    assert workspace.hub.read(path).fields.reveal() == {"x": "2"}  # type: ignore[union-attr]
    before = people.consumers["app"].delivered
    people.sync()
    assert (people.told(path), people.consumers["app"].delivered) == ([1, 2], before)


def test_copies_come_before_notices(people: Audience) -> None:
    path = people.declare("app")
    people.write(path)
    people.store.down = Unavailable("write", "memory", "it does not answer")
    assert people.sync().told == ()
    keep_look(people.open(), people.lab.hub.now() + timedelta(seconds=1))
    assert people.sync().told == ()
    people.store.down = None
    people.sync()
    assert people.told(path) == [1]


def test_what_a_revocation_has_ended_is_not_told_of_here(people: Audience) -> None:
    path = people.declare("app", rotation=GENERATED)
    workspace = people.open()
    rotate(workspace, path, Trigger.FORCE)
    people.sync()
    record = Worker(workspace, path).record()
    people.lab.keep(f"rotations/{path}", {**record.to_data(), "frozen": "INC-1"})
    people.write(path, value="leaked")
    assert people.sync().told == ()
    people.lab.keep(f"rotations/{path}", record.to_data())
    people.sync()
    assert people.told(path) == [1, 2]


def test_while_a_rotation_is_open_nobody_is_told_and_afterwards_of_what_is_there(people: Audience) -> None:
    path = people.declare("app", rotation=GENERATED)
    people.write(path, value="1")
    people.sync()
    worker = Worker(people.open(), path)
    worker.staged()
    people.write(path, value="by hand")
    owed = people.owing(path)
    assert (owed.paths, owed.held) == ((), {path})
    rotate(worker.workspace, path)
    people.sync()
    assert people.told(path) == [1, 3]


# --- silent consumers, waves


def test_a_silent_consumer_holds_up_no_other_and_is_tried_again(people: Audience) -> None:
    path = people.declare()
    people.write(path)
    down = silence(people, "web", Unavailable("notify", "web", "answered 503"))
    found = people.sync(workspace=down())
    assert {one.consumer: one.kind for one in found.told} == {"app": "", "web": "Unavailable"}
    since = people.heard(path).waiting["web"]
    people.sync(workspace=down())
    assert since is not None
    assert since.since
    assert people.heard(path).waiting == {"web": since}
    assert [one.consumer for one in people.sync().told] == ["web"]
    assert people.consumers["app"].delivered == people.consumers["web"].delivered == 1
    assert people.heard(path).waiting == {}


def test_a_consumer_that_the_catalogue_names_no_more_is_owed_nothing(people: Audience) -> None:
    path = people.declare()
    people.write(path)
    people.sync(workspace=silence(people, "web", Unavailable("notify", "web", "answered 503"))())
    people.secrets[path]["consumers"] = ("app",)
    assert people.sync().told == ()
    assert people.heard(path).waiting == {}


@pytest.mark.parametrize("pause", ["0s", "10m"])
def test_the_canary_is_told_first_and_the_rest_once_it_is_well_after_the_pause(people: Audience, pause: str) -> None:
    path = people.declare(rotation=GENERATED, rollout={"canary": ["web"], "pause": pause})
    people.consumers["web"].health = 503  # type: ignore[assignment]
    people.write(path)
    now = people.lab.hub.now()
    early = dataclasses.replace(people.open(), hub_clock=lambda: now)
    found = people.sync(workspace=early)
    assert found.later == ({path: 600.0} if pause == "10m" else {})
    late = dataclasses.replace(people.open(), hub_clock=lambda: now + timedelta(minutes=11))
    ailing = people.sync(workspace=late)
    assert [(one.consumer, one.kind) for one in ailing.told] == [("web", "Unavailable")]
    assert (people.told(path), people.told(path, "web")) == ([], [1])
    people.consumers["web"].health = 200  # type: ignore[assignment]
    people.sync(workspace=late)
    assert (people.told(path), people.told(path, "web")) == ([1], [1])
    assert people.consumers["web"].delivered == 1


def test_a_canary_that_does_not_take_it_holds_back_the_rest(people: Audience) -> None:
    path = people.declare(rotation=GENERATED, rollout={"canary": ["web"]})
    people.write(path)
    people.sync(workspace=silence(people, "web", Unavailable("notify", "web", "answered 503"))())
    assert people.told(path) == []
    people.sync()
    assert people.told(path) == people.told(path, "web") == [1]


# --- two at work, and one that dies


def test_of_two_at_once_one_tells(people: Audience) -> None:
    path = people.declare()
    people.write(path)
    people.owing()
    other, found = people.open(holder=ELSEWHERE), list[Notices]()
    meanwhile = Once(lambda: found.append(tell_written(other, [path])))
    mine = people.open()
    workspace = dataclasses.replace(mine, sender=Hooked(mine.sender, deliver=meanwhile))
    assert len(tell_written(workspace, [path]).told) == 2
    assert (found[0].told, found[0].held) == ((), {path})
    assert people.consumers["app"].delivered == people.consumers["web"].delivered == 1


@pytest.mark.parametrize("holder", [dead_holder(), ELSEWHERE], ids=["this host", "another host"])
def test_what_a_dead_run_held_is_told_by_the_next_at_once_or_when_it_counts_as_dead(
    people: Audience, holder: str
) -> None:
    path = people.declare("app")
    people.write(path)
    people.owing()
    dying = people.open(holder=holder)
    dying = dataclasses.replace(dying, sender=Hooked(dying.sender, deliver=raising(KeyboardInterrupt())))
    with pytest.raises(KeyboardInterrupt):
        tell_written(dying, [path])
    now = people.lab.hub.now()
    assert (tell_written(people.open(), [path]).told == ()) is (holder == ELSEWHERE)
    late = dataclasses.replace(people.open(), hub_clock=lambda: now + HOLD)
    tell_written(late, [path])
    assert people.told(path) == [1]
    assert people.consumers["app"].delivered == 1


def test_a_run_that_dies_after_a_delivery_leaves_the_same_message_to_the_next(people: Audience) -> None:
    path = people.declare("app")
    people.write(path)
    people.owing()
    mine = people.open(holder=dead_holder())
    writes = []

    def die(place: str, *_: Any, **__: Any) -> None:
        writes.append(place)
        if len(writes) > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tell_written(dataclasses.replace(mine, hub=Hooked(mine.hub, write_state=die)), [path])
    assert people.heard(path).waiting == {"app": None}
    people.sync()
    assert people.consumers["app"].delivered == 2
    assert people.told(path) == [1]
    assert people.heard(path).told == ("app",)


# --- what status says


def answers(people: Audience, path: str) -> dict[str, str]:
    """What `keyturn status` says of each consumer."""
    workspace = people.open()
    (found,) = [one for one in secret_statuses(workspace, lambda _: CatalogueCopies())[0] if one.path == path]
    return {one.consumer: str(one.answer) for one in found.consumers}


def test_status_says_told_of_what_was_told_alone_and_not_yet_of_what_will_be(people: Audience) -> None:
    path, rotated = people.declare(), people.declare(rotation=GENERATED)
    assert set(answers(people, path).values()) == {"not notified yet"}
    people.write(path)
    assert set(answers(people, path).values()) == {"not notified yet"}
    people.sync(workspace=silence(people, "web", Unavailable("notify", "web", "answered 503"))())
    assert answers(people, path) == {"app": "notified", "web": "silent"}
    people.write(path)
    assert set(answers(people, path).values()) == {"not notified yet"}
    people.sync()
    assert set(answers(people, path).values()) == {"notified"}
    rotate(people.open(), rotated, Trigger.FORCE)
    assert set(answers(people, rotated).values()) == {"notified"}
    people.write(rotated, value="by hand")
    assert set(answers(people, rotated).values()) == {"not notified yet"}
    people.sync()
    assert set(answers(people, rotated).values()) == {"notified"}


def test_status_says_of_what_was_there_before_that_nobody_is_told(lab: Lab) -> None:
    with audience(lab, "app", "web") as people:
        path = people.declare("app")
        people.write(path)
        assert answers(people, path) == {"app": "notified from the next version on"}
        people.sync()
        assert answers(people, path) == {"app": "notified from the next version on"}
        people.write(path)
        people.sync()
        people.secrets[path]["consumers"] = ("app", "web")
        assert answers(people, path) == {"app": "notified", "web": "notified from the next version on"}
        people.lab.keep(f"{NOTICES}/{people.id}/{part_of(path)}", {"heard": "nonsense"})
        assert answers(people, path) == {"app": "unknown", "web": "unknown"}


def test_status_goes_on_where_what_is_kept_may_not_be_read(people: Audience) -> None:
    path = people.declare("app")
    people.write(path)
    mine = people.open()

    def refuse(place: str) -> None:
        if place.startswith(NOTICES):
            raise Denied("read", place, "the hub denies it")

    workspace = dataclasses.replace(mine, hub=Hooked(mine.hub, read_state=refuse))
    (found,) = [one for one in secret_statuses(workspace, lambda _: CatalogueCopies())[0] if one.path == path]
    assert [(str(one.answer), one.silence and one.silence.kind) for one in found.consumers] == [("unknown", "Denied")]


# --- what it costs, what can't be read


def test_a_look_at_what_has_not_changed_reads_no_secret_and_writes_one_line(people: Audience) -> None:
    paths = [people.declare("app", destinations=[]) for _ in range(30)]
    for path in paths:
        people.write(path)
    people.sync()
    calls: list[str] = []

    def note(what: str) -> Callable[..., None]:
        return lambda place="", *_, **__: calls.append(f"{what} {place}")

    mine = people.open()
    verbs = ("read", "describe", "describe_many", "read_state", "write_state", "patch_metadata", "write")
    hub = Hooked(mine.hub, **{verb: note(verb) for verb in verbs})
    people.sync(workspace=dataclasses.replace(mine, hub=hub))
    assert not [call for call in calls if any(path in call for path in paths)]
    about = [call for call in calls if NOTICES in call]
    assert {call.partition(" ")[0] for call in about} == {"read_state", "write_state"}
    assert [call for call in about if call.startswith("write")] in ([], [f"write_state {NOTICES}/{people.id}/looked"])
    assert len(about) < 25


@pytest.mark.parametrize("spoilt", [{"heard": "nonsense"}, {"heard": '{"a": 1}'}, {}, {"format": 9, "heard": "{}"}])
def test_what_is_kept_may_be_nonsense_which_is_told_with_its_place_and_stops_no_other_part(
    people: Audience, spoilt: dict[str, Any]
) -> None:
    path = people.declare("app")
    other = next(one for one in iter(lambda: people.declare("app"), "") if part_of(one) != part_of(path))
    for one in (path, other):
        people.write(one)
    place = f"{NOTICES}/{people.id}/{part_of(path)}"
    people.lab.keep(place, spoilt)
    owed = people.owing()
    assert isinstance(owed.errors[path], Invalid)
    assert place in str(owed.errors[path])
    assert other in owed.paths
    people.lab.keep(place, {"heard": "{}"})
    assert path in people.owing().paths


def test_whoever_may_not_keep_it_is_told_so_and_tells_nobody(people: Audience) -> None:
    path = people.declare("app")
    people.write(path)
    mine = people.open()

    def refuse(place: str, *_: Any, **__: Any) -> None:
        if place.startswith(NOTICES):
            raise Denied("write", place, "the hub denies it")

    refusing = Hooked(mine.hub, write_state=refuse)
    owed = people.owing(path, workspace=dataclasses.replace(mine, hub=refusing))
    assert isinstance(owed.errors[path], Denied)
    assert people.told(path) == []
