"""Whose copy: marks carry the catalogue's id, and only who has made a copy deletes it."""

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from keyturn.catalogue import Catalogue
from keyturn.core.plan import Action
from keyturn.core.ports.stores import OwnershipTags
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.rotation.copies.store_status import left_stores, load_store_status
from keyturn.rotation.state.context import Workspace
from keyturn.sync.apply import Applier, Result
from keyturn.sync.plan import plan
from keyturn.sync.run import carry_out, local_executor
from keyturn.wiring.registry import open_workspace
from tests.support.lab import ANY_UNDECLARED, Lab, fresh
from tests.sync.site import SETTINGS, Site

pytestmark = pytest.mark.sampled(4, of="file")

DELETING = {**SETTINGS, "deletion": "delete", "delete_after": "0s", "profile": "one"}


def team(site: Site, name: str, *folders: str, **settings: Any) -> Workspace:
    """The catalogue of one team, over the hub and the store ``one`` that all teams share."""
    paths = [f"{folder}/*" for folder in folders]
    syncs = {"all": {"paths": paths, "stores": ["one"], **settings}} if folders else {}
    declared = {"id": name, "stores": {"one": DELETING}, "syncs": syncs, "policy": ANY_UNDECLARED}
    opened = open_workspace(Catalogue.model_validate(declared), site.lab.hub)
    return dataclasses.replace(opened, open_store=site.open_store, clock=site.clock)


def run(workspace: Workspace) -> list[Result]:
    """Plan and apply."""
    return carry_out(workspace, plan(workspace), local_executor(Applier(workspace)))


def runs(site: Site, *workspaces: Workspace) -> None:
    """Each of them, again and again, while days go by."""
    for _ in range(3):
        for workspace in workspaces:
            run(workspace)
        site.clock.advance(timedelta(days=30))


def written(lab: Lab, folder: str, value: str) -> str:
    """A secret in a folder of the hub."""
    path = f"{folder}/a"
    lab.hub.write(path, SecretFields({"password": value}), cas=0)
    return path


def test_two_catalogues_on_one_hub_and_account_leave_each_others_copies_alone(site: Site) -> None:
    folders = fresh(), fresh()
    paths = [written(site.lab, folder, folder) for folder in folders]
    first, second = (team(site, name, folder) for name, folder in zip(("team-a", "team-b"), folders, strict=True))
    runs(site, first, second)
    assert set(site.served("one")) == set(paths)
    assert {copy.marks.catalogue for copy in site.stores["one"].list_managed() if copy.marks} == {"team-a", "team-b"}
    runs(site, team(site, "team-a"), second)
    assert set(site.served("one")) == {paths[1]}


def test_a_place_that_another_catalogue_keeps_is_a_conflict_unless_it_is_adopted(site: Site) -> None:
    folder = fresh()
    path = written(site.lab, folder, "v")
    run(team(site, "team-a", folder))
    (item,) = plan(team(site, "team-b", folder)).items
    assert (item.action, item.why) == (Action.CONFLICT, "the catalogue team-a has made it")
    (item,) = plan(team(site, "team-b", folder, adopt=True)).items
    assert item.action is Action.ADOPT
    run(team(site, "team-b", folder, adopt=True))
    copy = site.stores["one"].describe(path)
    assert copy is not None
    assert copy.marks is not None
    assert (copy.marks.catalogue, copy.marks.adopted) == ("team-b", True)


def test_a_copy_of_a_catalogue_without_an_id_is_taken_over_when_it_is_written_and_deleted_by_no_other(
    site: Site,
) -> None:
    folder = fresh()
    path = written(site.lab, folder, "v1")
    run(team(site, "default", folder))
    runs(site, team(site, "team-b"))
    assert site.served("one") == {path: '{"password":"v1"}'}
    named = team(site, "team-a", folder)
    assert [item.action for item in plan(named).items] == [Action.IN_SYNC]
    site.lab.hub.write(path, SecretFields({"password": "v2"}), cas=1)
    run(named)
    copy = site.stores["one"].describe(path)
    assert copy is not None
    assert copy.marks is not None
    assert (copy.marks.catalogue, copy.marks.adopted) == ("team-a", False)
    runs(site, team(site, "default"))
    assert set(site.served("one")) == {path}


def test_an_older_releases_copy_is_deleted_only_by_the_catalogue_without_an_id(site: Site) -> None:
    folder = fresh()
    path = written(site.lab, folder, "v")
    default = team(site, "default")
    text = Sensitive('{"password":"v"}')
    site.stores["one"].write(path, text, OwnershipTags(path, 1, default.fingerprint_of(path, text)), None)
    runs(site, team(site, "team-a"))
    assert set(site.served("one")) == {path}
    runs(site, default)
    assert site.served("one") == {}


def test_an_adopted_secret_is_let_go_and_never_deleted(site: Site) -> None:
    folder = fresh()
    path = written(site.lab, folder, "v1")
    site.stores["one"].write(path, Sensitive("theirs"), OwnershipTags("x", 1, ""), None)
    site.stores["one"]._secrets[path].marks = None
    adopting = team(site, "team-a", folder, adopt=True)
    runs(site, adopting)
    site.lab.hub.write(path, SecretFields({"password": "v2"}), cas=1)
    runs(site, adopting)
    assert site.served("one") == {path: '{"password":"v2"}'}
    runs(site, team(site, "team-a"))
    assert set(site.served("one")) == {path}
    site.lab.root.secrets.kv.v2.delete_metadata_and_all_versions(path)
    (item,) = plan(adopting, [path]).items
    assert (item.action, item.why) == (Action.IN_SYNC, "the hub has it no more; it was adopted, so it is let go")
    runs(site, adopting)
    assert set(site.served("one")) == {path}


def test_a_store_that_deletes_leaves_alone_what_its_twin_that_keeps_has_made(site: Site) -> None:
    twins = {"keeping": {**SETTINGS, "profile": "same"}, "deleting": {**DELETING, "profile": "same"}}

    def opened(**syncs: Any) -> Workspace:
        declared = {"stores": twins, "syncs": syncs, "policy": ANY_UNDECLARED}
        made = open_workspace(Catalogue.model_validate(declared), site.lab.hub)
        return dataclasses.replace(made, open_store=lambda name: site.stores["one"], clock=site.clock)

    folder = fresh()
    path = written(site.lab, folder, "v")
    run(opened(all={"paths": [f"{folder}/*"], "stores": ["keeping"]}))
    runs(site, opened())
    assert set(site.served("one")) == {path}


@pytest.mark.parametrize("name", ["default", "team-a"])
def test_a_store_that_leaves_the_catalogue_with_copies_in_it_is_told(site: Site, name: str) -> None:
    folder, store = fresh(), fresh()
    written(site.lab, folder, "v")

    def opened(stores: dict[str, Any]) -> Workspace:
        syncs = {"all": {"paths": [f"{folder}/*"], "stores": list(stores)}} if stores else {}
        declared = {"id": name, "stores": stores, "syncs": syncs, "policy": ANY_UNDECLARED}
        made = open_workspace(Catalogue.model_validate(declared), site.lab.hub)
        return dataclasses.replace(made, open_store=lambda _: site.stores["one"], clock=site.clock)

    there = opened({store: {**SETTINGS, "profile": store}})
    run(there)
    assert load_store_status(there, store)[0].in_step == 1
    assert store not in {left.name for left in left_stores(there)}
    gone = opened({})
    (left,) = [one for one in left_stores(gone) if one.name == store]
    assert left.copies == 1
    (remark,) = [remark for remark in plan(gone).remarks if store in remark]
    assert "has left the catalogue, and 1 copies were in it" in remark
    assert store not in {one.name for one in left_stores(team(site, "team-b"))}
    site.lab.root.secrets.kv.v2.delete_metadata_and_all_versions(
        left.kept_at.partition("/")[2], mount_point=left.kept_at.partition("/")[0]
    )
    assert store not in {one.name for one in left_stores(gone)}
