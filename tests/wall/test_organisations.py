"""Two organisations on one hub can't read, change or list each other's secrets."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from keyturn.catalogue import Catalogue
from keyturn.core.rights.rights import HubPlaces
from keyturn.core.sensitive import SecretFields
from keyturn.core.workspaces import WorkspaceNames
from keyturn.providers.vault.hub import VaultHub
from keyturn.rights.hub_apply import apply_setup
from keyturn.rights.hub_plan import plan_setup
from keyturn.rights.hub_record import read_record
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from local.openbao import OpenBao
from tests.hub_setup.site import Empty, empty_hub
from tests.organisations.site import HARVEST, catalogue_of, needed

pytestmark = pytest.mark.sampled(10, of="file")

LOGINS = ("worker", "revoker", "notary", "monitor", "planner", "consumer:reaper")
NAMES = ("red", "blue")


def body_of(path: str) -> dict[str, Any]:
    """What a call sends."""
    if "/data/" in path:
        return {"data": {"value": "of somebody else"}}
    return {"versions": [9]} if "/destroy/" in path else {"input": "YQ=="}


@dataclass(frozen=True)
class House:
    """One organisation: what leads to it on the hub, and what its logins are."""

    empty: Empty
    places: HubPlaces
    tokens: dict[str, str]

    def ask(self, token: str, method: str, path: str, spelled: bool = False) -> requests.Response:
        """What the hub answers whoever has that login and asks for something here, by header or by path."""
        server, inside = self.empty.server, self.empty.namespace
        return requests.request(
            method,
            f"{server.address}/v1/{f'{inside}/{path}' if spelled and inside else path}",
            headers={"X-Vault-Token": token, **({} if spelled or not inside else {"X-Vault-Namespace": inside})},
            json=body_of(path) if method == "POST" else None,
            verify=server.ca_file or True,
            timeout=20,
        )

    @property
    def calls(self) -> list[tuple[str, str]]:
        """What its own logins do here, one or another."""
        secret, state, transit = self.places.mount, self.places.state_mount, self.places.transit_mount
        return [
            ("GET", f"{secret}/data/{HARVEST[0]}"),
            ("POST", f"{secret}/data/{HARVEST[0]}"),
            ("GET", f"{secret}/metadata/harvest?list=true"),
            ("POST", f"{secret}/destroy/{HARVEST[0]}"),
            ("GET", f"{state}/data/rotations/{HARVEST[0]}"),
            ("GET", f"{state}/metadata/incidents?list=true"),
            ("POST", f"{state}/data/incidents/INC-1/head"),
            ("POST", f"{transit}/sign/keyturn-ledger"),
            ("GET", f"{state}/data/webhooks/reaper"),
        ]


def house(empty: Empty, places: HubPlaces) -> House:
    """One, set up as its administrator does."""
    resources = needed(catalogue_of(), places)
    record = read_record(empty.port)
    apply_setup(empty.port, places.state_mount, plan_setup(empty.port, resources, record), record)
    policies = {
        "worker": ["keyturn-worker"],
        "revoker": ["keyturn-worker", "keyturn-revoker"],
        **{name: [f"keyturn-{name}"] for name in ("notary", "monitor", "planner")},
        "consumer:reaper": ["consumer-reaper"],
    }
    tokens = {login: empty.token(*map(places.named, names)) for login, names in policies.items()}
    empty.hub.write(HARVEST[0], SecretFields({"value": "canary"}), cas=0)
    for path in (f"rotations/{HARVEST[0]}", "webhooks/reaper", "incidents/INC-0/head"):
        empty.hub.write_state(path, {"key": "canary"}, cas=0)
    return House(empty, places, tokens)


@pytest.fixture(scope="module")
def in_namespaces(openbao: OpenBao, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[House]]:
    """A namespace for each, and in it everything is called as in any other."""
    with ExitStack() as stack:
        made = (stack.enter_context(empty_hub(openbao, tmp_path_factory.mktemp(name))) for name in NAMES)
        yield [house(empty, HubPlaces()) for empty in made]


@pytest.fixture(scope="module")
def in_mounts(openbao: OpenBao, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[House]]:
    """One namespace, and in it mounts and policies for each."""
    with ExitStack() as stack:
        directory = tmp_path_factory.mktemp("mounts")
        shared = stack.enter_context(empty_hub(openbao, directory))
        houses = []
        for name in NAMES:
            own = WorkspaceNames(name).own
            places = HubPlaces(name, own, f"transit-{name}", f"{own}-lease", house=own)
            hub = VaultHub(
                HubSettings(
                    openbao.address,
                    name,
                    own,
                    shared.namespace,
                    openbao.ca_file,
                    TokenLogin(file=str(directory / "root")),
                    transit_mount=places.transit_mount,
                )
            )
            stack.callback(hub.close)
            empty = Empty(openbao, shared.namespace, hub, shared.root, directory)
            houses.append(house(empty, places))
        yield houses


@pytest.fixture(params=["in_namespaces", "in_mounts"])
def houses(request: pytest.FixtureRequest) -> list[House]:
    made: list[House] = request.getfixturevalue(request.param)
    return made


def test_each_attempted_call_works_in_its_own_organisation(houses: list[House]) -> None:
    for home in houses:
        for method, path in home.calls:
            answers = [home.ask(token, method, path).status_code for token in home.tokens.values()]
            assert any(code < 300 for code in answers), (path, answers)


@pytest.mark.parametrize("login", LOGINS)
def test_no_login_reaches_into_the_other_organisation(houses: list[House], login: str) -> None:
    for home, other in (houses, houses[::-1]):
        for method, path in other.calls:
            for spelled in (False, True):
                answer = other.ask(home.tokens[login], method, path, spelled)
                assert answer.status_code == 403, (login, method, path, answer.text)
                assert "canary" not in answer.text


def test_setup_of_one_organisation_changes_nothing_of_the_other(in_mounts: list[House]) -> None:
    red, blue = in_mounts
    made = {house.places.house: read_record(house.empty.port).made for house in in_mounts}
    assert not set(made["keyturn-red"]) & set(made["keyturn-blue"]) - {"auth-method:approle"}
    policy = red.empty.read("sys/policies/acl/keyturn-red-worker")["policy"]
    assert "red/data/" in policy
    assert "blue/" not in policy
    wanted = needed(catalogue_of(), blue.places)
    plan = plan_setup(blue.empty.port, wanted, read_record(blue.empty.port))
    rest = {item.resource.key: str(item.verdict) for item in plan.items if item.verdict != "in place"}
    # Roles are called as the catalogue has them: one that the other organisation has is not taken over.
    assert rest == {"approle:approle/reaper": "blocked", "approle:approle/baker": "blocked"}


def test_equal_role_names_get_their_own_organisations_policies(in_mounts: list[House]) -> None:
    catalogue = Catalogue.model_validate(
        {"hub": {"keyturn-red-worker": {"kind": "approle", "login": "worker", "addresses": ["127.0.0.0/8"]}}}
    )
    roles = [made for made in needed(catalogue, in_mounts[0].places) if made.kind == "approle"]
    assert roles[0].fields["token_policies"] == ["keyturn-red-worker", "keyturn-red-worker-login"]
