"""The hub's engines through the whole protocol, from the catalogue to the end of the old credential.

The worker is logged in with the policy that the repository gives it, and nothing else.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.catalogue import Catalogue, load_catalogue
from keyturn.core.errors import Invalid
from keyturn.core.ports.hub import EXPIRES_AT
from keyturn.core.rotation_record import Stage
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.providers.vault.hub import VaultHub
from keyturn.rotation.outcome import RunState
from keyturn.rotation.renew import renew_credentials
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.record_store import load_record
from keyturn.wiring.registry import open_workspace
from tests.support.clock import Clock
from tests.support.engines import OverPostgreSQL, worker_hub
from tests.support.lab import Declared, Lab, catalogue_data, fresh
from tests.support.memory_store import MemoryStore
from tests.support.pki import Pki
from tests.support.sender import RecordingSender
from tests.support.world import REGION

pytestmark = pytest.mark.sampled(4, of="file")

DOCS = Path(__file__).parents[2] / "docs" / "strategies"


@dataclass
class Place:
    """One secret without a version, and what an application tries."""

    secret: Declared
    works: Callable[[SecretFields], bool]
    overlaps: bool


def declared(rotation: dict[str, Any]) -> Declared:
    """Ten days between rotations, an hour of grace."""
    data = {"owner": "tests@example.com", "classification": "internal"}
    return Declared(f"tests/{fresh()}", {**data, "rotation": {"grace": "1h", **rotation}}, {})


@pytest.fixture
def dynamic(over_postgresql: OverPostgreSQL) -> Place:
    rotation = {"strategy": "vault-dynamic", "target": "pg", "role": over_postgresql.dynamic("24h", "768h")}
    return Place(declared({**rotation, "interval": "10d"}), over_postgresql.logs_in, overlaps=True)


@pytest.fixture
def static(over_postgresql: OverPostgreSQL) -> Place:
    rotation = {"strategy": "vault-static-role", "target": "pg", "role": over_postgresql.static()[0]}
    return Place(
        declared({**rotation, "interval": "10d", "accepts_gap": True}), over_postgresql.logs_in, overlaps=False
    )


@pytest.fixture
def certificate(lab: Lab, tmp_path: Path) -> Place:
    pki = Pki(lab, tmp_path)
    rotation = {"strategy": "certificate", "role": pki.role(), "common_name": "WWW.internal", "ttl": "15d"}
    return Place(declared(rotation), lambda fields: pki.accepts(fields, "www.internal"), overlaps=True)


PLACES = ("dynamic", "static", "certificate")


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def hub(lab: Lab, tmp_path: Path) -> Iterator[VaultHub]:
    with worker_hub(lab, tmp_path) as opened:
        yield opened


def opened(lab: Lab, hub: VaultHub, secret: Declared, clock: Clock) -> Workspace:
    """A worker's Keyturn over one secret."""
    store = {"kind": "aws-secrets-manager", "region": REGION}
    catalogue = Catalogue.model_validate(catalogue_data(lab.world, (secret,), store, {}))
    workspace = open_workspace(catalogue, hub)
    return dataclasses.replace(
        workspace, clock=clock, hub_clock=clock, sender=RecordingSender(), open_store=lambda name: MemoryStore(name)
    )


def current(hub: VaultHub, secret: Declared) -> SecretFields:
    found = hub.read(secret.path)
    assert found is not None
    return found.fields


def test_a_secret_is_made_replaced_when_due_and_its_old_credential_ends(lab: Lab, hub: VaultHub, place: Place) -> None:
    clock, secret = Clock(), place.secret
    workspace = opened(lab, hub, secret, clock)
    assert rotate(workspace, secret.path).state is RunState.ROTATED
    first = current(hub, secret)
    assert place.works(first)
    clock.advance(timedelta(days=9))
    assert retire(workspace, secret.path).retired
    assert rotate(workspace, secret.path).state is RunState.NOT_DUE
    clock.advance(timedelta(days=1, seconds=1))
    assert rotate(workspace, secret.path).state is RunState.ROTATED
    second = current(hub, secret)
    assert place.works(second)
    assert place.works(first) is place.overlaps
    assert not retire(workspace, secret.path).retired
    clock.advance(timedelta(hours=1))
    assert retire(workspace, secret.path).retired
    assert place.works(second)
    assert not place.works(first)


@pytest.mark.parametrize("place", ["dynamic", "certificate"], indirect=True)
def test_the_schedule_is_told_when_it_ends_by_itself(lab: Lab, hub: VaultHub, place: Place) -> None:
    workspace = opened(lab, hub, place.secret, Clock())
    rotate(workspace, place.secret.path)
    info = hub.describe(place.secret.path)
    assert info is not None
    assert info.custom[EXPIRES_AT] == current(hub, place.secret)["expires_at"].reveal()


def test_a_mint_that_died_before_it_was_saved_is_cleaned_up_or_taken_up(lab: Lab, hub: VaultHub, place: Place) -> None:
    """The answer of the engine was lost: the next run finds an intent in the record, and no candidate."""
    secret, clock = place.secret, Clock()
    workspace = opened(lab, hub, secret, clock)
    rotate(workspace, secret.path)
    before = current(hub, secret)
    lost: list[SecretFields] = []
    strategy = workspace.open_strategy(secret.path)
    mint = strategy.mint

    def dying(current: SecretFields | None) -> SecretFields:
        lost.append(mint(current))
        raise Killed

    strategy.mint = dying  # type: ignore[method-assign]
    with pytest.raises(Killed):
        rotate(workspace, secret.path, Trigger.FORCE)
    rotation = load_record(workspace, secret.path).rotation
    assert rotation is not None
    assert rotation.stage is Stage.MINTING
    again = opened(lab, hub, secret, clock)
    assert rotate(again, secret.path).state is RunState.ROTATED
    after = current(hub, secret)
    assert place.works(after)
    assert place.works(before) is place.overlaps
    if secret.data["rotation"]["strategy"] == "vault-dynamic":
        assert not place.works(lost[0])
    if secret.data["rotation"]["strategy"] == "vault-static-role":
        assert after["password"] == lost[0]["password"]


class Killed(BaseException):
    """The process dies here: nothing of ours catches it."""


def test_leases_are_kept_alive_and_one_that_has_ended_is_told(lab: Lab, hub: VaultHub, dynamic: Place) -> None:
    workspace = opened(lab, hub, dynamic.secret, Clock())
    rotate(workspace, dynamic.secret.path)
    lease_id = current(hub, dynamic.secret)["lease_id"].reveal()
    lab.root.write_data("sys/leases/renew", data={"lease_id": lease_id, "increment": 600})
    assert renew_credentials(workspace, [dynamic.secret.path]) == {}
    standing = lab.database.lease(lease_id)
    assert standing is not None
    assert standing.left > timedelta(hours=23)
    lab.database.revoke(lease_id)
    said = renew_credentials(workspace, [dynamic.secret.path])[dynamic.secret.path]
    assert f"keyturn rotate {dynamic.secret.path} --now" in said


def test_open_sessions_of_the_old_account_hold_its_end(
    lab: Lab, hub: VaultHub, dynamic: Place, over_postgresql: OverPostgreSQL
) -> None:
    clock = Clock()
    workspace = opened(lab, hub, dynamic.secret, clock)
    rotate(workspace, dynamic.secret.path)
    with over_postgresql.session(current(hub, dynamic.secret)):
        rotate(workspace, dynamic.secret.path, Trigger.FORCE)
        clock.advance(timedelta(hours=2))
        (held,) = retire(workspace, dynamic.secret.path).held_by
        assert "1 open sessions" in held
    assert retire(workspace, dynamic.secret.path).retired


def test_a_role_that_the_engine_rotates_by_itself_is_refused_before_anything_changes(
    lab: Lab, hub: VaultHub, static: Place
) -> None:
    workspace = opened(lab, hub, static.secret, Clock())
    rotate(workspace, static.secret.path)
    role = static.secret.data["rotation"]["role"]
    changed = {"db_name": "ml", "username": f"{role}_user", "rotation_period": "24h"}
    lab.root.write_data(f"database/static-roles/{role}", data=changed)
    with pytest.raises(Invalid, match="rotation_period"):
        rotate(workspace, static.secret.path, Trigger.FORCE)
    assert static.works(current(hub, static.secret))


def test_a_certificate_is_renewed_when_two_thirds_of_its_life_are_over_and_sooner_by_an_interval(
    lab: Lab, hub: VaultHub, certificate: Place
) -> None:
    sooner = certificate.secret.having(interval="5d")
    for secret, days in ((certificate.secret, 10), (sooner, 5)):
        clock = Clock()
        workspace = opened(lab, hub, secret, clock)
        rotate(workspace, secret.path, Trigger.FORCE, end_previous=True)
        clock.advance(timedelta(days=days, minutes=-5))
        retire(workspace, secret.path)
        assert rotate(workspace, secret.path).state is RunState.NOT_DUE
        clock.advance(timedelta(minutes=10))
        assert rotate(workspace, secret.path).state is RunState.ROTATED


@pytest.mark.parametrize("page", ["vault-dynamic", "vault-static-role", "certificate"])
def test_the_example_on_a_strategys_page_loads(page: str, tmp_path: Path) -> None:
    text = (DOCS / f"{page}.md").read_text()
    (tmp_path / "secrets.yaml").write_text(re.findall(r"(?s)```yaml\n(.*?)```", text)[0])
    (secret,) = load_catalogue(tmp_path, {}).secrets.values()
    assert secret.rotation.strategy == page
