"""What a workspace's name makes of the names on a Prefect server."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from deployments.prefect_file import file_of, of_workspace, prefect_file
from deployments.texts import filled
from keyturn.core.errors import Invalid
from keyturn.core.rights.rights import HubPlaces
from keyturn.core.workspaces import HOUSE, VARIABLE, WorkspaceNames
from keyturn.rights.hub_policies import ROLES

RESERVED = ("target", "target-db", "consumer", "red-consumer", "consumer-red", "red-consumer-blue")
PARTS = ("red", "worker", "consumer", "default", "login")
WORDS = [*PARTS, *("-".join(parts) for count in (2, 3) for parts in itertools.product(PARTS, repeat=count))]
PAYMENTS = WorkspaceNames("payments")


@pytest.mark.parametrize(
    ("name", "of_default", "of_payments"),
    [
        (lambda one: one.own, "keyturn", "keyturn-payments"),
        (lambda one: one.deployed("sync"), "sync/sync", "sync/sync-payments"),
        (lambda one: one.limit("db"), "keyturn-target-db", "keyturn-payments-target-db"),
        (lambda one: one.automation("report"), "keyturn: report", "keyturn-payments: report"),
        (lambda one: one.resource("secret", "*"), "keyturn.secret.*", "keyturn-payments.secret.*"),
        (lambda one: one.artifact("rotate-due"), "rotate-due", "payments-rotate-due"),
        (lambda one: filled("<called>: <keeper> of <pool><option>", one), "Keyturn: keeper of keyturn", None),
        (lambda one: f"rotate{one.option}", "rotate", "rotate --workspace payments"),
    ],
)
def test_the_default_workspace_keeps_its_names_and_another_has_its_own(
    name: Callable[[WorkspaceNames], str], of_default: str, of_payments: str | None
) -> None:
    assert name(WorkspaceNames()) == of_default
    said = "Keyturn payments: keeper-payments of keyturn-payments --workspace payments"
    assert name(PAYMENTS) == (of_payments or said)


@pytest.mark.parametrize("name", ["", "Payments", "a/b", "-a", "a-", "a_b", "x" * 33, *RESERVED])
def test_what_could_not_be_told_from_another_name_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match="no name of a workspace"):
        WorkspaceNames(name)


def legal(name: str) -> bool:
    try:
        return bool(WorkspaceNames(name))
    except Invalid:
        return False


def test_no_two_workspaces_have_a_policy_of_one_name() -> None:
    wanted = [*ROLES, *(f"consumer-{word}" for word in WORDS)]
    names = [
        HubPlaces(house=WorkspaceNames(one).own).named(policy) for one in filter(legal, WORDS) for policy in wanted
    ]
    assert sorted(names) == sorted(set(names))


def test_the_environment_names_it() -> None:
    assert WorkspaceNames.from_environment({VARIABLE: "payments"}) == PAYMENTS
    assert WorkspaceNames.from_environment({VARIABLE: ""}) == WorkspaceNames.from_environment({}) == WorkspaceNames()


@pytest.mark.parametrize("name", ["default", "payments", "a-b"])
def test_a_pool_tells_its_workspace(name: str) -> None:
    workspace = WorkspaceNames(name)
    assert WorkspaceNames.of_pool(workspace.own) == workspace


@pytest.mark.parametrize("pool", ["", "Keyturn", "keyturn-", "keyturn-default", "keyturn-target-db", "other", "k-x"])
def test_somebody_elses_pool_is_no_workspaces(pool: str) -> None:
    with pytest.raises(Invalid, match=r"no workspace|no name of a workspace"):
        WorkspaceNames.of_pool(pool)


def test_the_deployments_of_a_workspace_have_its_names() -> None:
    said = yaml.safe_load(prefect_file().read_text())
    made = of_workspace(said, PAYMENTS)
    assert {one["name"] for one in made["deployments"]} == {f"{one['name']}-payments" for one in said["deployments"]}
    for one in made["deployments"]:
        assert one["work_pool"]["name"] == "keyturn-payments"
        assert "job_variables" not in one["work_pool"], "the worker takes none"
        assert "keyturn-payments" in one["tags"]
        assert HOUSE not in one["tags"]
    for before, after in zip(said["deployments"], made["deployments"], strict=True):
        same = before.keys() - {"name", "tags", "work_pool"}
        assert {key: after[key] for key in same} == {key: before[key] for key in same}
        assert after["work_pool"]["work_queue_name"] == before["work_pool"]["work_queue_name"]


def test_the_default_workspace_is_deployed_from_the_file_as_it_is() -> None:
    with file_of(WorkspaceNames()) as file:
        assert file == prefect_file()
    with file_of(PAYMENTS) as made:
        assert yaml.safe_load(Path(made).read_text())["name"] == "keyturn"
    assert not made.exists()
