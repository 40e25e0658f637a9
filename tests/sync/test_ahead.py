"""Nothing is pushed backwards: what a copy or the ledger knows is compared with what the hub has."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from keyturn.core.errors import Ahead, KeyturnError, Unavailable
from keyturn.core.plan import Action
from keyturn.core.ports.hub import OVERTAKEN
from keyturn.core.ports.ledger import NewestVersion
from keyturn.core.ports.stores import OwnershipTags
from keyturn.core.rotation_record import Record
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.copies.push import look_at_copies, push_destination
from keyturn.rotation.state.journal import record_action
from keyturn.sync.observe import hub_secrets
from keyturn.sync.plan import plan
from tests.support.places import single
from tests.sync.site import Site

pytestmark = pytest.mark.sampled(3, of="file")


def written_anew(site: Site, name: str, *versions: str) -> str:
    """Remove a secret with its metadata, and write it anew: the hub counts from 1 again."""
    path = site.path(name)
    site.lab.root.secrets.kv.v2.delete_metadata_and_all_versions(path)
    for password in versions:
        site.write(name, password=password)
    return path


def grown(site: Site, name: str = "a", versions: int = 5) -> str:
    """A secret whose last version is in every store, and whose others never were."""
    path = ""
    for number in range(1, versions + 1):
        path = site.write(name, password=f"p{number}")
    site.run()
    return path


def test_a_copy_that_is_ahead_stops_writing_everywhere_and_says_what_happened(site: Site) -> None:
    path = grown(site)
    written_anew(site, "a", "old1", "old2")
    del site.stores["two"]._secrets[path]
    planned = site.plan()
    assert {item.action for item in planned.items} == {Action.AHEAD}
    assert {item.label for item in planned.items} == {f"one:{path}", f"two:{path}"}
    why = planned.items[0].why
    assert f"the hub is at version 2 of {path}" in why
    assert "version 5" in why
    assert "restored from a backup, or the secret was removed and written again" in why
    assert f"keyturn repair recover {path}" in why
    assert planned.trouble
    assert not planned.work
    assert site.run() == []
    assert site.served("one") == {path: '{"password":"p5"}'}
    assert site.served("two") == {}


@pytest.mark.parametrize("deep", [False, True])
def test_other_secrets_are_pushed_all_the_same(site: Site, deep: bool) -> None:
    path = grown(site)
    written_anew(site, "a", "old")
    other = site.write("b", password="fine")
    site.run(deep=deep)
    assert site.served("one") == {path: '{"password":"p5"}', other: '{"password":"fine"}'}


def test_the_ledger_stops_a_push_where_no_copy_is_left_to_tell(site: Site) -> None:
    path = grown(site)
    for store in site.stores.values():
        store._secrets.clear()
    written_anew(site, "a", "old")
    item = site.item(f"one:{path}")
    assert item.action is Action.AHEAD
    assert "the ledger knows version 5" in item.why
    site.run()
    assert site.served("one") == {}


def test_a_ledger_that_can_not_be_read_is_said_and_what_copies_tell_counts(site: Site) -> None:
    path = grown(site)
    written_anew(site, "a", "old")

    class Unread:
        def newest_versions(self, secrets: Collection[str]) -> Mapping[str, NewestVersion]:
            raise Unavailable("read", "the ledger", "the disk is gone")

    unread: Any = Unread()
    planned = plan(dataclasses.replace(site.workspace, ledger=unread))
    assert {item.action for item in planned.items if item.path == path} == {Action.AHEAD}
    assert any("compared with the ledger" in remark and "the disk is gone" in remark for remark in planned.remarks)


def test_one_destination_is_refused_in_the_same_way_as_a_plan(site: Site) -> None:
    path = grown(site)
    written_anew(site, "a", "old")
    workspace = site.workspace
    for place in single(workspace.catalogue.destinations(path)):
        assert push_destination(workspace, path, place).kind == Ahead.__name__
    assert {looked.kind for looked in look_at_copies(workspace, path)} == {Ahead.__name__}
    assert site.served("one") == {path: '{"password":"p5"}'}


def test_the_same_number_of_another_incarnation_is_not_in_step(site: Site) -> None:
    path = grown(site, versions=2)
    written_anew(site, "a", "new1", "new2")
    assert site.actions() == {f"one:{path}": Action.UPDATE, f"two:{path}": Action.UPDATE}
    site.run()
    assert site.served("one") == {path: '{"password":"new2"}'}
    assert set(site.actions().values()) == {Action.IN_SYNC}


def test_a_deep_plan_compares_fingerprints_where_old_marks_tell_numbers_alone(site: Site) -> None:
    path = site.write("a", password="of old")
    digest = site.workspace.fingerprint(path, SecretFields({"password": "of old"}))
    for store in site.stores.values():
        text = store.write(path, payload_of("of old"), OwnershipTags(path, 1, digest), None)
        assert text.marks == OwnershipTags(path, 1, digest)
    assert set(site.actions().values()) == {Action.IN_SYNC}
    written_anew(site, "a", "another")
    assert set(site.actions(deep=True).values()) == {Action.UPDATE}
    site.run(deep=True)
    assert site.served("one") == {path: '{"password":"another"}'}


def test_a_later_version_by_the_hubs_clock_is_ahead_whatever_its_number(site: Site) -> None:
    path = grown(site, versions=2)
    before = site.lab.hub.describe(path)
    assert before is not None
    assert before.newest is not None
    later = site.lab.hub.read(path)
    assert later is not None
    kept = site.stores["one"]._secrets[path]
    assert kept.marks is not None
    after = before.newest.created_at.replace(year=before.newest.created_at.year + 1)
    kept.marks = dataclasses.replace(kept.marks, version=1, created_at=after, fingerprint="0" * 64)
    assert site.actions(path) == {f"one:{path}": Action.AHEAD, f"two:{path}": Action.AHEAD}


def test_who_brings_the_lost_value_back_by_hand_is_in_step_and_goes_on(site: Site) -> None:
    path = grown(site)
    written_anew(site, "a", "old", "p5")
    assert set(site.actions().values()) == {Action.IN_SYNC}
    site.run()
    site.write("a", password="p6")
    site.run()
    assert site.served("one") == site.served("two") == {path: '{"password":"p6"}'}


def test_versions_that_were_recovered_from_no_longer_count(site: Site) -> None:
    path = grown(site)
    written_anew(site, "a", "old")
    site.lab.hub.patch_metadata(path, {OVERTAKEN: "5"})
    site.run()
    assert site.served("one") == site.served("two") == {path: '{"password":"old"}'}
    site.write("a", password="newer")
    site.run()
    assert site.served("one") == {path: '{"password":"newer"}'}


def test_a_rotation_that_goes_on_while_a_plan_is_made_is_no_alarm(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    path = grown(site, versions=2)
    workspace = site.workspace
    listed = hub_secrets(workspace, None)
    site.write("a", password="p3")
    site.run()
    monkeypatch.setattr("keyturn.sync.observe.hub_secrets", lambda *_: listed)
    try:
        planned = plan(workspace)
    except KeyturnError as error:
        pytest.fail(str(error))
    assert Action.AHEAD not in {item.action for item in planned.items if item.path == path}


def payload_of(password: str) -> Any:
    """The text of a whole secret with one field."""
    from keyturn.core.fingerprint import payload

    return payload(SecretFields({"password": password}))


def test_what_a_lost_revocation_has_ended_is_not_pushed_and_a_later_version_is(site: Site) -> None:
    path = grown(site, versions=2)
    with record_action(site.workspace, "cut", path, note="INC-9", version=2):
        pass
    assert site.actions() == {f"one:{path}": Action.AHEAD, f"two:{path}": Action.AHEAD}
    why = site.item(f"one:{path}").why
    assert f"the hub serves version 2 of {path}, which the incident INC-9 has ended" in why
    assert site.plan().remarks[0].startswith(f"THE HUB IS BEHIND: it has lost newer versions of {path}, or their end")
    site.lab.keep(f"rotations/{path}", Record(frozen="INC-9").to_data())
    assert set(site.actions().values()) == {Action.IN_SYNC}, "an incident that the hub knows of goes on by itself"
    site.lab.root.secrets.kv.v2.delete_metadata_and_all_versions(
        f"rotations/{path}", mount_point=site.lab.hub.state_mount
    )
    site.write("a", password="written since")
    site.run()
    assert site.served("one") == {path: '{"password":"written since"}'}
