"""A hub belongs to one ledger, and its actions are recorded only there."""

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from keyturn.cli.ledger.commands import commands
from keyturn.core.errors import Denied, Invalid, KeyturnError, Unrecorded
from keyturn.core.ports.hub import Hub
from keyturn.core.schedule.due import Trigger
from keyturn.ledger.entries import parse_leaf
from keyturn.ledger.naming import LedgerName, LedgerPlace, claim_name, read_name
from keyturn.ledger.storage.waiting import waiting_in_hub
from keyturn.ledger.verify import verify_ledger
from keyturn.providers.ledger.ed25519 import verify_ed25519
from keyturn.providers.ledger.sqlite import SqliteLedger
from keyturn.providers.vault.hub import VaultHub
from keyturn.rotation.run import rotate
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from keyturn.wiring.ledger import configured_ledger, make_checkpoint, named_ledger, spooled_ledger
from keyturn.wiring.ledger_move import move_ledger, new_ledger
from local.postgres import PostgreSQL
from local.prepare import database
from local.support.ports import free_port
from tests.ledger.entries import entries
from tests.support.clock import Clock
from tests.support.lab import Lab, fresh
from tests.support.world import TOKEN_VARIABLE, World

pytestmark = pytest.mark.sampled(3, of="file")


@dataclass
class Place:
    """A ledger's file and name, as the environment of a process leads to it."""

    file: Path
    name: str

    @property
    def env(self) -> dict[str, str]:
        return {"KEYTURN_LEDGER": str(self.file), "KEYTURN_LEDGER_NAME": self.name}

    def open(self) -> SqliteLedger:
        return SqliteLedger(self.file, f"keyturn/{self.name}", patience=5)

    def actions(self) -> list[str]:
        with closing(self.open()) as ledger:
            return [parse_leaf(leaf).entry.action for _, leaf in ledger.leaves()]


@pytest.fixture
def right(lab: Lab, tmp_path: Path) -> Place:
    """The ledger that the hub names: it has entries under a checkpoint."""
    place = Place(tmp_path / "right.db", fresh())
    with closing(place.open()) as ledger:
        ledger.append(entries(3))
        assert make_checkpoint(lab.hub, ledger, Clock())
    return place


@pytest.fixture
def engine(world: World) -> Iterator[Hub]:
    """The same hub with a transit engine of its own, whose key is another one."""
    mount = f"transit-{fresh()}"
    world.root().sys.enable_secrets_engine("transit", path=mount)
    world.root().secrets.transit.create_key("keyturn-ledger", key_type="ed25519", mount_point=mount)
    with closing(
        VaultHub(HubSettings(world.hub_address, login=TokenLogin(TOKEN_VARIABLE), transit_mount=mount))
    ) as hub:
        yield hub


def refusal(place: Place, hub: Hub) -> str:
    """What an append to the ledger there is refused with; nothing is written."""
    before = place.actions()
    with closing(named_ledger(place.env, hub)) as ledger, pytest.raises((Unrecorded, Denied)) as refused:
        ledger.append(entries(1))
    assert place.actions() == before
    return str(refused.value)


def test_the_first_use_names_the_ledger_with_its_key(lab: Lab, tmp_path: Path) -> None:
    place = Place(tmp_path / "first.db", fresh())
    with closing(named_ledger(place.env, lab.hub)) as ledger:
        ledger.append(entries(2))
    name, _ = read_name(lab.hub)
    assert name
    assert name.origin == f"keyturn/{place.name}"
    assert [key.key for key in name.keys] == list(lab.hub.signer("keyturn-ledger").public_keys())


def test_of_concurrent_first_uses_exactly_one_names_the_ledger(lab: Lab) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda number: claim_name(lab.hub, f"keyturn/ledger-{number}"), range(8)))
    assert len({name.origin for name in names}) == 1
    assert read_name(lab.hub)[0] == names[0]


def test_a_ledger_of_another_name_takes_nothing_and_nothing_is_rotated(
    lab: Lab, right: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in Place(tmp_path / "elsewhere.db", fresh()).env.items():
        monkeypatch.setenv(name, value)
    secret = lab.generated()
    opened = lab.open(secret)
    with pytest.raises(Unrecorded, match=f"the hub names keyturn/{right.name}"):
        rotate(opened.workspace, secret.path, Trigger.FORCE)
    info = lab.hub.describe(secret.path)
    assert info
    assert info.version == 1
    assert "move on purpose: keyturn ledger move" in refusal(Place(tmp_path / "elsewhere.db", fresh()), lab.hub)


def test_an_empty_ledger_under_the_right_name_is_another_ledger(lab: Lab, right: Place, tmp_path: Path) -> None:
    assert "it was never signed" in refusal(Place(tmp_path / "empty.db", right.name), lab.hub)


def test_a_ledger_with_another_signing_key_is_another_ledger(
    lab: Lab, engine: Hub, right: Place, tmp_path: Path
) -> None:
    forged = Place(tmp_path / "forged.db", right.name)
    name, _ = read_name(lab.hub)
    assert name
    copy = lab.hub.read_state(f"ledgers/{name.origin}")
    assert copy
    lab.keep("ledger", LedgerName(name.origin).to_data())
    lab.root.secrets.kv.v2.delete_metadata_and_all_versions(f"ledgers/{name.origin}", mount_point="keyturn")
    with closing(forged.open()) as ledger:
        ledger.append(entries(5))
        make_checkpoint(engine, ledger, Clock())
    lab.keep(f"ledgers/{name.origin}", dict(copy.data))
    lab.keep("ledger", name.to_data())
    assert "signed by another key than those that the hub names" in refusal(forged, lab.hub)


def test_a_recreated_key_signs_nothing(engine: Hub, right: Place) -> None:
    with closing(right.open()) as ledger:
        ledger.append(entries(2))
        with pytest.raises(Invalid, match="is not the one that the hub names for it"):
            make_checkpoint(engine, ledger, Clock())


def test_a_replaced_key_is_followed_and_the_old_one_still_verifies(
    world: World, engine: VaultHub, tmp_path: Path
) -> None:
    place = Place(tmp_path / "turned.db", fresh())
    with closing(place.open()) as ledger:
        for number in (1, 2):
            ledger.append(entries(3, number))
            assert make_checkpoint(engine, ledger, Clock())
            world.root().secrets.transit.rotate_key("keyturn-ledger", mount_point=engine.settings.transit_mount)
        name, _ = read_name(engine)
        assert name
        assert verify_ledger(ledger, name.keys, verify_ed25519).whole
        assert len(name.keys) == 2
        by_the_first = verify_ledger(ledger, name.keys[:1], verify_ed25519)
        assert by_the_first.whole
        assert [succession.successor for succession in by_the_first.successions] == [name.keys[1]]
        assert not verify_ledger(ledger, name.keys[1:], verify_ed25519).whole


def test_a_revocation_continues_and_its_entries_wait_for_the_right_ledger(
    lab: Lab, right: Place, tmp_path: Path
) -> None:
    lost: list[str] = []
    spool = {"KEYTURN_LEDGER_SPOOL": str(tmp_path / "spool")}
    elsewhere = Place(tmp_path / "elsewhere.db", fresh())
    with closing(spooled_ledger({**elsewhere.env, **spool}, lab.hub, lambda _, why: lost.append(why))) as ledger:
        ledger.append(entries(2, 100))
    assert len(waiting_in_hub(lab.hub)) == 1
    assert elsewhere.actions() == []
    with closing(spooled_ledger({**right.env, **spool}, lab.hub, lambda _, why: lost.append(why))) as ledger:
        assert ledger.drain() == 2
    assert len(right.actions()) == 5
    assert lost == []


def test_an_edited_ledger_name_is_refused(lab: Lab, right: Place) -> None:
    lab.keep("ledger", {"origin": f"keyturn/{right.name}", "keys": "none"})
    assert "it was edited by hand" in refusal(right, lab.hub)


def test_an_unreachable_hub_does_not_confirm_the_ledger(
    lab: Lab, world: World, right: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_RIGHTS", lab.root.auth.token.create(policies=["default"])["auth"]["client_token"])
    with closing(VaultHub(HubSettings(world.hub_address, login=TokenLogin("NO_RIGHTS")))) as hub:
        assert "the hub denies it" in refusal(right, hub)


def test_a_move_is_recorded_in_both_ledgers_and_the_old_one_is_closed(lab: Lab, right: Place, tmp_path: Path) -> None:
    place = Place(tmp_path / "new.db", fresh())
    with closing(right.open()) as old, closing(place.open()) as new:
        name = move_ledger(lab.hub, old, new, "a larger disk", Clock())
        assert move_ledger(lab.hub, old, new, "a larger disk", Clock()) == name
        assert [(earlier.origin, earlier.size) for earlier in name.before] == [(old.origin, 4)]
        assert verify_ledger(old, name.keys_of(old.origin), verify_ed25519).vouched == 4
    assert right.actions()[-1] == "move ledger"
    assert place.actions() == ["move ledger", "move ledger"]
    assert f"the hub names keyturn/{place.name}" in refusal(right, lab.hub)
    with closing(right.open()) as old, closing(place.open()) as new, pytest.raises(Invalid, match="was left before"):
        move_ledger(lab.hub, new, old, "back again", Clock())


def command(*arguments: str) -> Result:
    return CliRunner().invoke(commands, arguments)


def test_the_commands_report_it_and_move_only_on_request(
    world: World, lab: Lab, right: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path / "new.db", fresh())
    given = {"VAULT_ADDR": world.hub_address, "VAULT_TOKEN": world.hub_token, "KEYTURN_HOME": str(tmp_path / "none")}
    for name, value in {**given, **place.env}.items():
        monkeypatch.setenv(name, value)
    with closing(configured_ledger(os.environ)) as ledger:
        ledger.append(entries(1))
    for refused in (command("checkpoint"), command("verify")):
        assert isinstance(refused.exception, KeyturnError)
        assert f"keyturn/{right.name}" in str(refused.exception)
    assert command("move", "--reason", "a larger disk").exit_code == 2
    assert isinstance(command("move", "--reason", "lost", "--from", str(tmp_path / "no.db")).exception, Invalid)
    assert command("move", "--reason", "a larger disk", "--from", str(right.file)).exit_code == 0
    assert command("checkpoint").exit_code == 0
    assert command("verify").exit_code == 0


def test_a_lost_ledger_can_be_replaced_with_the_hubs_knowledge_of_it(lab: Lab, right: Place, tmp_path: Path) -> None:
    place = Place(tmp_path / "new.db", fresh())
    with closing(place.open()) as new:
        move_ledger(lab.hub, None, new, "the disk is gone", Clock())
        notes = [parse_leaf(leaf).entry.note for _, leaf in new.leaves()]
    assert (
        notes[0]
        == f"from keyturn/{right.name}, which is lost; its newest checkpoint covers 3 entries: the disk is gone"
    )


# --- where it is, by the hub's word


@pytest.fixture
def shared(postgres: PostgreSQL, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a PostgreSQL ledger that the hub names."""
    name = f"ledger_{fresh()}"
    monkeypatch.setenv("PGPASSWORD", postgres.superuser_password)
    with database(postgres.host, postgres.port, postgres.superuser_password) as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        address = f"postgresql://postgres@{postgres.host}:{postgres.port}/{name}"
        with closing(named_ledger({"KEYTURN_LEDGER": address, "KEYTURN_LEDGER_NAME": name}, lab.hub)) as ledger:
            ledger.append(entries(1))
        yield address
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_machine_without_a_setting_writes_to_the_database_that_the_hub_names(lab: Lab, shared: str) -> None:
    with closing(named_ledger({}, lab.hub)) as ledger:
        ledger.append(entries(2, 2))
        assert (ledger.address, ledger.size()) == (shared, 3)


def test_while_the_ledgers_database_is_down_revocations_continue_and_rotations_stop(lab: Lab, shared: str) -> None:
    state = lab.hub.read_state("ledger")
    assert state
    down = f"postgresql://postgres@127.0.0.1:{free_port()}/{shared.rpartition('/')[2]}"
    lab.hub.write_state("ledger", {**state.data, "address": down}, cas=state.version)
    with closing(named_ledger({}, lab.hub)) as ledger, pytest.raises(Unrecorded, match="the server does not answer"):
        ledger.append(entries(2, 2))
    with closing(spooled_ledger({}, lab.hub, lambda *_: pytest.fail("nothing is lost"))) as ledger:
        assert "the server does not answer" in ledger.why_refused()
        ledger.append(entries(2, 2))
        assert ledger.waits
    given = {"KEYTURN_LEDGER": shared}
    with closing(spooled_ledger(given, lab.hub, lambda *_: pytest.fail("nothing is lost"))) as ledger:
        assert (ledger.drain(), ledger.drain()) == (2, 0)


def test_a_first_use_without_a_ledger_setting_creates_none(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with closing(named_ledger({}, lab.hub)) as ledger, pytest.raises(Unrecorded, match="the hub names none yet"):
        ledger.append(entries(1))
    assert read_name(lab.hub) == (None, 0)
    assert list(tmp_path.iterdir()) == []


def test_the_notarys_checkpoint_records_the_place_of_a_ledger_that_an_earlier_version_named(
    lab: Lab, tmp_path: Path
) -> None:
    place = Place(tmp_path / "earlier.db", fresh())
    lab.keep("ledger", {"origin": f"keyturn/{place.name}", "keys": [], "before": []})
    with closing(named_ledger({"KEYTURN_LEDGER": str(place.file)}, lab.hub)) as ledger:
        ledger.append(entries(2))
    with closing(place.open()) as ledger:
        assert make_checkpoint(lab.hub, ledger, Clock())
    name, _ = read_name(lab.hub)
    assert name
    assert (name.origin, name.place) == (f"keyturn/{place.name}", LedgerPlace(str(place.file), socket.gethostname()))
    with closing(named_ledger({}, lab.hub)) as ledger:
        assert ledger.size() == 2


def test_a_move_without_a_given_name_finds_a_free_one_and_records_the_place(lab: Lab, tmp_path: Path) -> None:
    old, new = {"KEYTURN_LEDGER": str(tmp_path / "old.db")}, {"KEYTURN_LEDGER": str(tmp_path / "new.db")}
    with closing(named_ledger(old, lab.hub)) as ledger:
        ledger.append(entries(1))
    name, _ = read_name(lab.hub)
    with closing(configured_ledger(old)) as left, closing(new_ledger(name, new)) as ledger:
        moved = move_ledger(lab.hub, left, ledger, "a larger disk", Clock())
    assert (moved.origin, moved.place.address) == ("keyturn/default-2", str(tmp_path / "new.db"))
    with closing(new_ledger(moved, new)) as ledger:
        assert move_ledger(lab.hub, None, ledger, "again", Clock()) == moved
    with closing(named_ledger({}, lab.hub)) as ledger:
        assert ledger.address == str(tmp_path / "new.db")
    with pytest.raises(Invalid, match="KEYTURN_LEDGER is not set"):
        new_ledger(moved, {})
