"""One entry of ``stores`` for several regions and accounts: what plans, runs and scans say of each store by itself."""

import dataclasses
import os
from pathlib import Path

import pytest

from keyturn.catalogue import Catalogue, load_catalogue
from keyturn.core.errors import NotFound
from keyturn.core.plan import Action
from keyturn.core.sensitive import SecretFields
from keyturn.revocation.selector import Selector, select_secrets
from keyturn.rotation.copies.store_status import left_stores
from keyturn.rotation.state.context import Workspace
from keyturn.sync.apply import Applier
from keyturn.sync.plan import plan
from keyturn.sync.run import carry_out, local_executor
from keyturn.sync.scan import scan_stores
from keyturn.wiring.registry import open_workspace
from tests.support.lab import Lab, fresh
from tests.support.memory_store import MemoryStore

ONE, OTHER = "arn:aws:iam::111122223333:role/keyturn", "arn:aws:iam::444455556666:role/keyturn"


@dataclasses.dataclass
class Places:
    """A catalogue with one AWS entry, whose stores are in memory by their names."""

    lab: Lab
    directory: Path
    stores: dict[str, MemoryStore] = dataclasses.field(default_factory=dict)
    path: str = dataclasses.field(default_factory=fresh)

    def open(self, settings: str, store: str = "aws", syncs: str = "{}") -> Workspace:
        """As a new process finds it, with these settings of the entry, and the secret pushed to this store."""
        declared = (
            f"id: {self.path.rpartition('/')[2]}\n"
            f"stores:\n  aws: {{ kind: aws-secrets-manager, {settings} }}\n"
            f"secrets:\n  {self.path}:\n    owner: a@example.com\n    classification: internal\n"
            f"    rotation: {{ strategy: generated, field: key, form: hex, interval: 1d, grace: 1h }}\n"
            f"    destinations: [{{ store: {store}, name: key }}]\n"
            f"syncs: {syncs}\n"
        )
        (self.directory / "all.yaml").write_text(declared)
        opened = open_workspace(load_catalogue(self.directory, os.environ), self.lab.hub)
        return dataclasses.replace(opened, open_store=self.store)

    def store(self, name: str) -> MemoryStore:
        """The store of that name."""
        return self.stores.setdefault(name, MemoryStore(name))

    def run(self, workspace: Workspace) -> dict[str, str]:
        """Plan and apply; what became of each copy."""
        return {
            done.label: done.state for done in carry_out(workspace, plan(workspace), local_executor(Applier(workspace)))
        }


@pytest.fixture
def places(lab: Lab, tmp_path: Path) -> Places:
    made = Places(lab, tmp_path)
    lab.hub.write(made.path, SecretFields({"key": "value"}), cas=0)
    return made


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ("region: eu-central-1", ["aws"]),
        ("regions: [eu-central-1]", ["aws/eu-central-1"]),
        ("regions: [us-east-1, eu-central-1]", ["aws/us-east-1", "aws/eu-central-1"]),
        (f"region: eu-central-1, role_arns: ['{ONE}', '{OTHER}']", ["aws/111122223333", "aws/444455556666"]),
        (f"regions: [us-east-1], role_arn: '{ONE}'", ["aws/us-east-1"]),
        (
            f"regions: [eu-central-1, us-east-1], role_arns: ['{ONE}', '{OTHER}']",
            [
                *("aws/111122223333/eu-central-1", "aws/111122223333/us-east-1"),
                *("aws/444455556666/eu-central-1", "aws/444455556666/us-east-1"),
            ],
        ),
    ],
)
def test_an_entry_stands_for_a_store_in_each_region_and_account(
    places: Places, settings: str, names: list[str]
) -> None:
    catalogue = places.open(settings).catalogue
    assert list(catalogue.stores) == names
    assert [place.label for place in catalogue.destinations(places.path)] == [f"{name}:key" for name in names]
    assert catalogue.members("aws") == tuple(names)
    assert len({store.system for store in catalogue.stores.values()}) == len(names)
    for name, settings_of_one in catalogue.stores.items():
        assert set(name.split("/")[1:]) <= set(settings_of_one.system)


def test_settings_are_those_of_the_entry_and_the_place_its_own(places: Places) -> None:
    said = f"regions: [eu-central-1, us-east-1], role_arns: ['{ONE}'], deletion: delete, recovery_window: 7d"
    said += ", tags: { team: pay }"
    store = places.open(said).catalogue.store("aws/111122223333/us-east-1").model_dump(exclude_defaults=True)
    assert {key: str(value) for key, value in store.items()} == {
        "kind": "aws-secrets-manager",
        "region": "us-east-1",
        "role_arn": ONE,
        "deletion": "delete",
        "recovery_window": "7d",
        "tags": "{'team': 'pay'}",
    }


def test_each_account_has_the_entrys_replicas(places: Places) -> None:
    said = f"region: eu-central-1, role_arns: ['{ONE}', '{OTHER}'], replicas: [us-east-1, {{ region: us-west-2 }}]"
    stores = places.open(said).catalogue.stores.values()
    assert [store.places for store in stores] == [("eu-central-1", "us-east-1", "us-west-2")] * 2


def test_plans_runs_and_scans_name_each_store_by_itself(places: Places) -> None:
    workspace = places.open("regions: [eu-central-1, us-east-1]")
    assert {item.label: item.action for item in plan(workspace).items} == {
        "aws/eu-central-1:key": Action.CREATE,
        "aws/us-east-1:key": Action.CREATE,
    }
    places.run(workspace)
    places.stores["aws/us-east-1"].put_by_hand("key", "theirs")
    assert {item.label: item.action for item in plan(workspace).items} == {
        "aws/eu-central-1:key": Action.IN_SYNC,
        "aws/us-east-1:key": Action.DRIFTED,
    }
    assert places.run(workspace) == {"aws/us-east-1:key": "updated"}
    places.stores["aws/us-east-1"].put_by_hand("nobodys", "theirs")
    assert [(one.store, one.unmanaged) for one in scan_stores(workspace, ["aws"]).stores] == [
        ("aws/eu-central-1", ()),
        ("aws/us-east-1", ("nobodys",)),
    ]
    for store in ("aws", "aws/us-east-1"):
        assert select_secrets(workspace, Selector(store=store)).paths == (places.path,)
    with pytest.raises(NotFound, match="aws/eu-central-1, aws/us-east-1"):
        workspace.catalogue.store("aws")


def test_a_destination_and_a_sync_may_name_one_store_of_a_group(places: Places) -> None:
    two, sync = "regions: [eu-central-1, us-east-1]", "{all: {paths: ['**'], stores: [%s], name: 'all-{name}'}}"
    name = places.path.rpartition("/")[2]

    def labels(catalogue: Catalogue, path: str) -> list[str]:
        return [place.label for place in catalogue.destinations(path)]

    one = places.open(two, "aws/us-east-1", sync % "aws/eu-central-1").catalogue
    assert labels(one, places.path) == ["aws/us-east-1:key", f"aws/eu-central-1:all-{name}"]
    whole = places.open(two, "aws/us-east-1", sync % "aws").catalogue
    assert labels(whole, "not/declared") == ["aws/eu-central-1:all-declared", "aws/us-east-1:all-declared"]


def test_a_store_becomes_a_group_without_a_write_and_a_region_that_leaves_it_is_told(places: Places) -> None:
    single = places.open("region: eu-central-1")
    places.run(single)
    places.stores["aws/eu-central-1"] = places.stores["aws"]
    group = places.open("regions: [eu-central-1, us-east-1]")
    assert places.run(group) == {"aws/us-east-1:key": "created"}
    assert left_stores(group) == []
    less = places.open("regions: [eu-central-1]")
    assert places.run(less) == {}
    assert [(one.name, one.copies, one.kept_at.rpartition("/")[2]) for one in left_stores(less)] == [
        ("aws/us-east-1", 1, "aws.us-east-1")
    ]
