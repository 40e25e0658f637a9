"""Two mounts of one hub in one catalogue: each is pushed and rotated, and one that can't be read stops no other."""

import dataclasses
import json
import secrets
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from keyturn.catalogue import Catalogue
from keyturn.core.errors import Denied, KeyturnError, Unavailable
from keyturn.core.plan import Action, Plan
from keyturn.core.ports.hub import HubSecret, SecretInfo
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.revocation.selector import Selector, select_secrets
from keyturn.revocation.whois import whois_value
from keyturn.rotation.decide import sight
from keyturn.rotation.repair.removed_entries import list_undeclared
from keyturn.rotation.repair.rename import rename
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.quiet_period import FEW, list_secrets
from keyturn.rotation.state.record_store import load_record
from keyturn.sync import import_secrets as importing
from keyturn.sync.apply import Applier
from keyturn.sync.batches import bring_in_step
from keyturn.sync.changes import EVERYTHING, Polling
from keyturn.sync.plan import plan
from keyturn.sync.run import carry_out, local_executor
from keyturn.sync.scan import scan_stores
from keyturn.wiring.registry import open_workspace
from tests.support.clock import Clock
from tests.support.hooks import eventually
from tests.support.lab import ANY_UNDECLARED, Lab, fresh
from tests.support.memory_store import MemoryStore
from tests.support.mounts import make_kv
from tests.sync.site import SETTINGS

pytestmark = pytest.mark.sampled(9, of="file")

REFUSAL = Denied("list", "payments", "the hub denies it", "Give this login the rights")
ROTATION = {"strategy": "generated", "interval": "30d", "grace": "0s"}


@pytest.fixture(scope="module")
def mount(lab: Lab) -> Iterator[str]:
    """A second KV v2 mount."""
    made = f"kv-{secrets.token_hex(4)}"
    make_kv(lab.root, made)
    assert eventually(lambda: ready(lab, made))
    yield made
    lab.root.sys.disable_secrets_engine(made)


def ready(lab: Lab, mount: str) -> bool:
    try:
        return lab.hub.mounted({"payments": mount}).describe("payments:nothing") is None
    except Unavailable:
        return False


class Unreadable:
    """The hub, whose mount `payments` denies everything while ``closed``."""

    def __init__(self, inner: Any) -> None:
        self.closed = False
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if name not in ("read", "describe", "describe_below"):
            return attribute

        def call(path: str = "", *more: object) -> Any:
            if self.closed and path.startswith("payments:"):
                raise REFUSAL
            return attribute(path, *more)

        return call


class Two:
    """A folder in either mount, all of which goes to one store, and one declared secret in each."""

    def __init__(self, lab: Lab, mount: str) -> None:
        self.lab, self.mount, self.folder = lab, mount, fresh()
        self.store, self.clock = MemoryStore("one"), Clock()
        self.here, self.there = f"{self.folder}/app", f"payments:{self.folder}/app"
        self.hub: Any = Unreadable(lab.hub.mounted({"payments": mount}))
        self.settings = {**SETTINGS, "deletion": "delete", "delete_after": "0s"}
        self.syncs = {
            "all": {"paths": [f"*:{self.folder}/*"], "stores": ["one"], "name": "{mount}/{path}"},
        }
        entry = {"owner": "a@example.com", "classification": "internal", "rotation": ROTATION}
        self.secrets = {path: {**entry, "path": path} for path in (self.here, self.there)}

    @property
    def workspace(self) -> Workspace:
        """One opened anew."""
        said = {
            "stores": {"one": self.settings},
            "mounts": {"payments": {"mount": self.mount}},
            "syncs": self.syncs,
            "policy": ANY_UNDECLARED,
            "secrets": {path: {**told, "destinations": self.places(path)} for path, told in self.secrets.items()},
        }
        made = open_workspace(Catalogue.model_validate(said), self.lab.hub)
        assert made.hub.mounts == {"payments": self.mount}
        return dataclasses.replace(
            made, hub=self.hub, open_store=lambda _: self.store, clock=self.clock, hub_clock=self.clock
        )

    def places(self, path: str) -> list[dict[str, str]]:
        """What the sync gives a declared secret when files are loaded."""
        mount, _, within = path.rpartition(":")
        return [{"store": "one", "name": f"{mount or 'default'}/{within}"}]

    def write(self, path: str, value: str) -> None:
        """A new version, by hand."""
        info = self.hub.describe(path)
        cas = info.version if isinstance(info, SecretInfo) else 0
        self.lab.hub.mounted({"payments": self.mount}).write(path, SecretFields({"value": value}), cas=cas)

    def run(self, *patterns: str) -> Plan:
        """Plan and apply; the plan."""
        workspace = self.workspace
        planned = plan(workspace, patterns, unseen=True)
        carry_out(workspace, planned, local_executor(Applier(workspace)))
        return planned

    def actions(self, *patterns: str) -> dict[str, Action]:
        return {item.name: item.action for item in plan(self.workspace, patterns).items}

    def served(self) -> dict[str, str]:
        return {copy.name: self.store.read(copy.name).reveal() for copy in self.store.list_all()}


@pytest.fixture
def two(lab: Lab, mount: str) -> Two:
    made = Two(lab, mount)
    for path, value in ((made.here, "here"), (made.there, "there")):
        made.write(path, value)
        made.write(f"{path}-undeclared", f"undeclared {value}")
    made.run()
    return made


def test_both_mounts_are_pushed_and_the_marks_tell_which(two: Two) -> None:
    folder = two.folder
    assert {name.replace(folder, "F"): value for name, value in two.served().items()} == {
        "default/F/app": '{"value":"here"}',
        "default/F/app-undeclared": '{"value":"undeclared here"}',
        "payments/F/app": '{"value":"there"}',
        "payments/F/app-undeclared": '{"value":"undeclared there"}',
    }
    sources = {copy.marks.source for copy in two.store.list_all() if copy.marks}
    assert sources == {two.here, two.there, f"{two.here}-undeclared", f"{two.there}-undeclared"}
    assert set(two.actions().values()) == {Action.IN_SYNC}
    assert set(two.actions("payments:**")) == {f"payments/{folder}/app", f"payments/{folder}/app-undeclared"}


def test_a_rotation_in_one_mount_leaves_the_same_path_of_the_other_alone(two: Two) -> None:
    before = two.hub.read(two.here)
    rotate(two.workspace, two.there, Trigger.FORCE)
    assert (
        load_record(two.workspace, two.there).rotation or load_record(two.workspace, two.there).history[-1]
    ).version == 2
    assert load_record(two.workspace, two.here).version == 0
    assert two.hub.read(two.here) == before
    after = two.hub.read(two.there)
    assert isinstance(after, HubSecret)
    assert json.loads(two.served()[f"payments/{two.folder}/app"]) == after.fields.reveal()
    assert two.served()[f"default/{two.folder}/app"] == '{"value":"here"}'


def test_a_mount_that_can_not_be_read_is_told_of_its_secrets_and_the_others_go_on(two: Two) -> None:
    two.write(two.here, "newer")
    two.write(two.there, "newer")
    two.hub.closed = True
    planned = two.run()
    folder = two.folder
    told = {item.name: (item.action, item.kind) for item in planned.items}
    assert told[f"payments/{folder}/app"] == (Action.BLOCKED, "Denied")
    assert f"payments/{folder}/app-undeclared" not in told, "nothing is deleted of what could not be looked at"
    assert [said for said in planned.remarks if "the mount payments" in said and "denies" in said]
    assert two.served()[f"default/{folder}/app"] == '{"value":"newer"}'
    assert two.served()[f"payments/{folder}/app"] == '{"value":"there"}'
    assert len(two.served()) == 4
    two.hub.closed = False
    two.run()
    assert two.served()[f"payments/{folder}/app"] == '{"value":"newer"}'
    assert len(two.served()) == 4


def test_what_is_gone_from_a_mount_that_can_be_read_is_still_deleted(two: Two) -> None:
    gone = f"{two.folder}/app-undeclared"
    two.lab.root.secrets.kv.v2.delete_metadata_and_all_versions(gone, mount_point=two.mount)
    two.run()
    two.clock.advance(timedelta(seconds=1))
    two.run()
    assert f"payments/{gone}" not in two.served()
    assert f"default/{gone}" in two.served()


def test_a_pattern_of_a_mount_that_can_not_be_read_fits_nobody_knows_what(two: Two) -> None:
    two.hub.closed = True
    with pytest.raises(Denied):
        plan(two.workspace, ["payments:**"])
    assert f"default/{two.folder}/app" in two.actions("**")


def test_a_batch_of_a_follower_brings_what_can_be_read(two: Two) -> None:
    two.write(two.here, "newer")
    two.hub.closed = True
    outcome = bring_in_step(two.workspace, [two.here, two.there], frozenset())
    assert two.served()[f"default/{two.folder}/app"] == '{"value":"newer"}'
    assert outcome.broken([two.here, two.there]) == {two.there: "Denied"}


def test_polling_sees_all_mounts_and_keeps_what_it_knew_of_one_that_it_can_not_read(two: Two) -> None:
    source = Polling(lambda: two.workspace.hub)
    assert source.look().paths == {EVERYTHING}
    two.write(two.there, "newer")
    assert source.look().paths == {two.there}
    two.hub.closed = True
    seen = source.look()
    assert (seen.paths, seen.errors) == (frozenset(), (REFUSAL,))
    two.hub.closed = False
    two.write(two.there, "newest")
    seen = source.look()
    assert (seen.paths, seen.errors) == (frozenset({two.there}), ())


def test_a_look_at_many_raises_for_the_secrets_of_the_closed_mount_alone(two: Two) -> None:
    two.hub.closed = True
    with list_secrets(two.workspace, FEW + 1) as listing:
        assert listing is not None
        assert not sight(two.workspace, two.here, listing).alarm
        with pytest.raises(Denied):
            sight(two.workspace, two.there, listing)


def test_a_scan_tells_of_either_mount_and_takes_no_copy_of_a_closed_one_for_left_over(two: Two) -> None:
    nobodys = f"payments:{fresh()}"
    two.write(nobodys, "nobody's")
    hub = scan_stores(two.workspace).hub
    assert hub is not None
    assert nobodys in hub.unmanaged
    assert not {two.here, two.there, f"{two.there}-undeclared"} & set(hub.unmanaged)
    two.hub.closed = True
    found = scan_stores(two.workspace)
    assert found.hub is not None
    assert found.hub.kind == "Denied"
    assert found.stores[0].undeclared == ()


def test_a_search_for_a_leaked_value_tells_what_it_could_not_look_at(two: Two) -> None:
    two.hub.closed = True
    found = whois_value(two.workspace, Sensitive("here"))
    assert [(match.path, match.version) for match in found if not match.unseen] == [(two.here, 1)]
    assert [(match.path, match.unseen) for match in found if match.unseen] == [(two.there, "the hub denies it")]
    with pytest.raises(Denied):
        select_secrets(two.workspace, Selector(fingerprint="0" * 12))


def test_an_import_goes_to_the_mount_that_the_prefix_names(two: Two) -> None:
    assert importing.path_for("team/key", f"payments:{two.folder}") == f"payments:{two.folder}/team/key"
    assert importing.path_for("team/key", "payments:") == "payments:team/key"
    two.store.put_by_hand("by-hand", '{"value":"v"}')
    seen = importing.look_at_imports(two.workspace, "one", ["by-hand"], f"payments:{two.folder}")
    (done,) = importing.import_all(two.workspace, seen)
    assert (done.error, done.path) == ("", f"payments:{two.folder}/by-hand")
    assert two.hub.read(done.path) is not None


def test_a_secret_can_move_to_another_mount(two: Two) -> None:
    rotate(two.workspace, two.here, Trigger.FORCE)
    old, new = two.here, f"payments:{two.folder}/moved"
    two.secrets[new] = {**two.secrets.pop(old), "path": new}
    current = two.hub.read(old)
    done = rename(two.workspace, old, new)
    assert isinstance(current, HubSecret)
    moved = two.hub.read(new)
    assert isinstance(moved, HubSecret)
    assert (done.version, moved.fields) == (2, current.fields)
    assert load_record(two.workspace, new).history or load_record(two.workspace, new).rotation
    assert old in {one.path for one in list_undeclared(two.workspace)}


def test_secrets_of_a_mount_that_left_the_catalogue_are_not_taken_for_absent(lab: Lab, two: Two) -> None:
    rotate(two.workspace, two.there, Trigger.FORCE)
    without = open_workspace(Catalogue.model_validate({}), lab.hub)
    assert two.there in {one.path for one in list_undeclared(without)}
    with pytest.raises(KeyturnError, match="declares no mount payments"):
        without.hub.describe(two.there)
