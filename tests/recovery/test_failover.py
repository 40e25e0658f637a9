"""Failover between two real hubs: handover, takeover and network partitions."""

import json
import os
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hvac
import pytest
import yaml
from typer.testing import CliRunner, Result

from keyturn.catalogue import Catalogue
from keyturn.cli.app import app
from keyturn.cli.recovery.failover import insist_on_clocks
from keyturn.core.errors import Conflict, Denied, Invalid, NotWritable, Unavailable, Unwitnessed
from keyturn.core.ports.failover import EPOCH, SETTLED, Epoch, why_not
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.providers.vault import fence
from keyturn.providers.vault.hub import VaultHub
from keyturn.recovery.failover import Pair, demote, promote, split
from keyturn.rotation.run import rotate
from keyturn.settings.hub import FailoverSettings, HubSettings
from keyturn.settings.hub_login import TokenLogin
from keyturn.wiring.registry import open_workspace
from local.openbao import OpenBao
from local.support.ports import free_port
from tests.manual.lines import lines_of
from tests.support.fault_proxy import FaultProxy, Faults
from tests.support.hooks import Replaced, eventually
from tests.support.lab import LOOSE
from tests.support.memory_store import MemoryStore

pytestmark = pytest.mark.sampled(3, of="file")

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
NAMES = ("frankfurt", "dublin")


@dataclass
class Region:
    """One hub, and its settings as a process beside it has them."""

    name: str
    settings: HubSettings
    root: hvac.Client


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Region, Region]]:
    """Two hubs in memory, which know nothing of each other."""
    directory = tmp_path_factory.mktemp("hubs")
    hubs = [OpenBao(directory / name, free_port(), dev=True) for name in NAMES]
    with hubs[0], hubs[1]:
        made = []
        for name, hub in zip(NAMES, hubs, strict=True):
            file = directory / f"{name}.token"
            file.write_text(hub.root_token)
            file.chmod(0o600)
            root = hvac.Client(url=hub.address, token=hub.root_token)
            root.sys.enable_secrets_engine("kv", "keyturn", options={"version": "2"})
            made.append(Region(name, HubSettings(hub.address, login=TokenLogin(file=str(file))), root))
        yield made[0], made[1]


@pytest.fixture
def regions(servers: tuple[Region, Region], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Region, Region]:
    """Both without a word on which is written; processes look at them often."""
    monkeypatch.setattr(fence, "LOOK_EVERY", timedelta(seconds=0.1))
    monkeypatch.setenv("KEYTURN_LEDGER", str(tmp_path / "ledger.db"))
    for region in servers:

        def ready(region: Region = region) -> bool:
            with closing(VaultHub(region.settings)) as hub:
                hub.delete_state(EPOCH)
                hub.delete_state("ledger")
            return True

        assert eventually(ready)
    return servers


def opened(region: Region, other: Region, *, port: int | None = None, lease: float | None = None) -> VaultHub:
    """The hub of one region, as a process there opens it; it reaches the other one at ``port``, where one is given."""
    peer = replace(other.settings, address=f"http://127.0.0.1:{port}") if port else other.settings
    failover = FailoverSettings(region.name, other.name, peer, timedelta(seconds=lease) if lease else None)
    return VaultHub(replace(region.settings, failover=failover))


def pair_of(region: Region, other: Region, lease: float | None = None) -> Pair:
    """Both hubs, as a command in one region has them."""
    return Pair(region.name, other.name, opened(region, other), VaultHub(other.settings), lease)


def writes(hub: VaultHub) -> bool:
    """Whether a write is let through."""
    try:
        state = hub.read_state("probe")
        hub.write_state("probe", {"at": time.time()}, cas=state.version if state else 0)
    except (NotWritable, Unwitnessed):
        return False
    return True


def refusal(hub: VaultHub) -> str:
    """Why a write is let through by nobody now; empty where it is."""
    try:
        hub.insist_writable("write", "probe")
    except (NotWritable, Unwitnessed) as error:
        return error.text
    return ""


def age(region: Region, seconds: float) -> None:
    """What the hub says becomes so much older: its wait is shortened."""
    with closing(VaultHub(region.settings)) as hub:
        state = hub.read_state(EPOCH)
        assert state is not None
        hub.write_state(EPOCH, {**state.data, "wait": max(0.0, state.data["wait"] - seconds)}, cas=state.version)


def test_neither_is_written_until_one_is_said_to_be_and_then_that_one_alone(regions: tuple[Region, Region]) -> None:
    one, two = regions
    with closing(opened(one, two)) as here, closing(opened(two, one)) as there:
        assert (writes(here), writes(there)) == (False, False)
        promote(pair_of(one, two), "ana", NOW)
        assert eventually(lambda: writes(here))
        here.insist_writable("write", "probe")
        assert not writes(there)
        with pytest.raises(Conflict, match="frankfurt is the one that is written"):
            promote(pair_of(two, one), "ben", NOW)
        assert promote(pair_of(one, two), "ana", NOW).unchanged

        assert demote(pair_of(one, two), "ana").epoch.number == 2
        assert demote(pair_of(one, two), "ana").unchanged
        assert eventually(lambda: not writes(here))
        assert not writes(there)
        said = promote(pair_of(two, one), "ben", NOW).epoch
        assert (said.number, said.writable) == (2, "dublin")
        assert SETTLED.total_seconds() - 5 < said.wait <= SETTLED.total_seconds()
        assert eventually(lambda: "it takes over in" in refusal(there))
        age(two, SETTLED.total_seconds())
        assert eventually(lambda: writes(there))
        assert not writes(here)


@pytest.mark.attack
def test_a_replaced_hub_is_written_until_it_learns_of_the_takeover_and_never_after(
    regions: tuple[Region, Region],
) -> None:
    one, two = regions
    promote(pair_of(one, two), "ana", NOW)
    proxy = FaultProxy("between", int(two.settings.address.rpartition(":")[2]), Faults())
    with closing(opened(one, two, port=proxy.port)) as old, closing(opened(two, one)) as new:
        with proxy:
            assert eventually(lambda: writes(old))
        # The network is cut. Nobody can tell, so without a lease the old one goes on.
        assert writes(old)
        gone = Pair(two.name, one.name, new, VaultHub(replace(one.settings, address="http://127.0.0.1:1")))
        with pytest.raises(Unavailable, match="can't be asked"):
            promote(gone, "ben", NOW)
        promote(gone, "ben", NOW, force=True)
        assert writes(old)
        assert not writes(new)
        age(two, SETTLED.total_seconds())
        assert eventually(lambda: writes(new))
    with closing(opened(one, two)) as healed:
        with pytest.raises(NotWritable, match=r"dublin is written since epoch 1\d{9}"):
            healed.insist_writable("write", "probe")
        state = healed.read_state(EPOCH)
        assert state is not None
        assert state.data["writable"] == "frankfurt"
        assert demote(pair_of(one, two), "ana").epoch.writable == "dublin"
        assert not writes(healed)


@pytest.mark.attack
def test_with_a_lease_both_hubs_are_never_written_at_once(regions: tuple[Region, Region]) -> None:
    one, two = regions
    lease = 2.0
    promote(pair_of(one, two), "ana", NOW)
    proxy = FaultProxy("between", int(two.settings.address.rpartition(":")[2]), Faults())
    with (
        closing(opened(one, two, port=proxy.port, lease=lease)) as old,
        closing(opened(two, one)) as new,
    ):
        with proxy:
            assert eventually(lambda: writes(old))
        cut = time.monotonic()
        gone = Pair(two.name, one.name, new, VaultHub(replace(one.settings, address="http://127.0.0.1:1")), lease)
        said = promote(gone, "ben", NOW, force=True).epoch
        assert said.wait >= lease
        # What is left of the wait once SETTLED is over: as long as the lease itself.
        age(two, said.wait - lease)
        both = []
        while not writes(new):
            both.append(writes(old))
            assert time.monotonic() < cut + 60
        assert not writes(old)
        assert both[0]
        with pytest.raises(Unwitnessed, match="dublin has not answered for 2 seconds"):
            old.insist_writable("write", "probe")


@pytest.mark.parametrize(
    ("here", "there", "why"),
    [
        (None, None, "is missing"),
        (Epoch(1, "frankfurt"), None, ""),
        (Epoch(2, "frankfurt"), Epoch(1, "dublin"), ""),
        (Epoch(1, "frankfurt"), Epoch(2, "dublin"), "dublin is written since epoch 2"),
        (Epoch(1, "frankfurt"), Epoch(2, "frankfurt"), "this hub is of epoch 1"),
        (Epoch(2, "frankfurt"), Epoch(2, "dublin"), "this hub names frankfurt, and dublin names dublin"),
        (Epoch(2, "dublin"), Epoch(2, "frankfurt"), "this hub names dublin"),
        (Epoch(3, "dublin"), Epoch(3, "dublin"), "dublin is written since epoch 3"),
        (None, Epoch(1, "dublin"), "is missing"),
    ],
)
def test_what_two_hubs_say_decides(here: Epoch | None, there: Epoch | None, why: str) -> None:
    said = why_not("frankfurt", here, "dublin", there)
    assert why in said
    assert bool(why) == bool(said)


def test_two_that_each_name_themselves_are_told_and_only_force_decides(regions: tuple[Region, Region]) -> None:
    one, two = regions
    for region in regions:
        with closing(VaultHub(region.settings)) as hub:
            hub.write_state(EPOCH, Epoch(4, region.name).to_data(), cas=0)
    with closing(opened(one, two)) as here, closing(opened(two, one)) as there:
        assert (writes(here), writes(there)) == (False, False)
        assert split(*pair_of(one, two).look())
        with pytest.raises(Conflict):
            promote(pair_of(one, two), "ana", NOW)
        assert promote(pair_of(one, two), "ana", NOW, force=True).epoch.number == 5
        age(one, SETTLED.total_seconds())
        assert eventually(lambda: writes(here))
        assert not writes(there)


def test_nothing_of_a_rotation_is_begun_on_the_hub_that_is_not_written(
    regions: tuple[Region, Region], tmp_path: Path
) -> None:
    one, two = regions
    promote(pair_of(one, two), "ana", NOW)
    rotation = {"strategy": "generated", "interval": "30d", "grace": "1h"}
    secret = {"owner": "a@example.com", "classification": "internal", "rotation": rotation}
    settings = {"kind": "aws-secrets-manager", "region": "eu-central-1"}
    path = f"shop/{tmp_path.name}"
    catalogue = {
        "stores": {"memory": settings},
        "secrets": {path: {**secret, "path": path, "destinations": [{"store": "memory", "name": "key"}]}},
    }
    store = MemoryStore("memory")
    with closing(opened(two, one)) as standby:
        made = open_workspace(Catalogue.model_validate(catalogue), standby)
        workspace = replace(made, open_store=lambda name: store, limits=LOOSE)
        with pytest.raises(NotWritable, match="is missing"):
            rotate(workspace, path, Trigger.FORCE)
        assert standby.read(path) is None
        for forbidden in (
            lambda: standby.write(path, SecretFields({"value": "x"}), cas=0),
            lambda: standby.patch_metadata(path, {"a": "b"}),
            lambda: standby.claim_state("claimed", {"a": "b"}),
            lambda: standby.delete_state("claimed"),
            lambda: standby.destroy(path, [1]),
        ):
            with pytest.raises(NotWritable):
                forbidden()
    assert store.writes == 0


@pytest.mark.attack
def test_a_peer_with_an_unclear_answer_counts_as_alive(regions: tuple[Region, Region], tmp_path: Path) -> None:
    one, two = regions
    promote(pair_of(one, two), "ana", NOW)
    file = tmp_path / "no-rights.token"
    file.write_text(two.root.auth.token.create(policies=["default"], ttl="10m")["auth"]["client_token"])
    file.chmod(0o600)
    lame = replace(two.settings, login=TokenLogin(file=str(file)))
    with closing(opened(one, replace(two, settings=lame))) as hub:
        assert eventually(lambda: not writes(hub))
        assert "dublin answers, and does not say which of the two is written: the hub denies it" in refusal(hub)
        denied = Pair(one.name, two.name, hub, VaultHub(lame))
        assert promote(denied, "ana", NOW).unchanged
    with closing(opened(two, one)) as there:
        blind = Pair(two.name, one.name, there, VaultHub(replace(one.settings, login=TokenLogin(file=str(file)))))
        with pytest.raises(Denied, match="can't be asked") as refused:
            promote(blind, "ben", NOW)
        assert "not gone" in refused.value.hint
        assert "--force" not in refused.value.hint
    with closing(VaultHub(two.settings)) as plain:
        plain.write_state(EPOCH, {"format": 2}, cas=0)
    with closing(opened(one, two)) as hub:
        assert eventually(lambda: "format 2" in refusal(hub))
    # A revocation is held up by nothing of this, and by a hub that has taken over.
    settings = FailoverSettings(one.name, two.name, lame).without_lease()
    with closing(VaultHub(replace(one.settings, failover=settings))) as revoker:
        assert writes(revoker)
        assert writes(revoker)


@pytest.mark.attack
def test_two_addresses_of_one_hub_are_found_when_it_is_handed_over(regions: tuple[Region, Region]) -> None:
    one, _ = regions
    itself = Pair(one.name, "dublin", opened(one, regions[1]), VaultHub(one.settings))
    with pytest.raises(Invalid, match="both addresses reach the same hub"):
        promote(itself, "ana", NOW)
    with pytest.raises(Invalid, match="both addresses reach the same hub"):
        demote(itself, "ana")


def test_a_name_that_neither_side_has_is_named(regions: tuple[Region, Region]) -> None:
    one, two = regions
    promote(pair_of(one, two), "ana", NOW)
    demote(replace(pair_of(one, two), other="dubln"), "ana")
    with pytest.raises(Conflict, match="dubln is the one that is written by their word"):
        promote(pair_of(two, one), "ben", NOW)


@pytest.mark.attack
def test_a_clock_that_is_years_off_makes_no_epoch() -> None:
    insist_on_clocks("dublin", NOW, NOW + timedelta(minutes=9))
    with pytest.raises(Invalid, match="2026-11-28 12:00 UTC, and this machine's 2019-"):
        insist_on_clocks("dublin", NOW, NOW - timedelta(days=7 * 365))


def test_an_entry_that_is_no_epoch_or_newer_lets_nothing_through(regions: tuple[Region, Region]) -> None:
    one, two = regions
    for data, words in (({"format": 2}, "format 2"), ({"format": 1, "epoch": "x", "writable": ""}, "no epoch")):
        with closing(VaultHub(one.settings)) as plain:
            state = plain.read_state(EPOCH)
            plain.write_state(EPOCH, data, cas=state.version if state else 0)
        with closing(opened(one, two)) as hub, pytest.raises(Invalid, match=words):
            hub.write_state("probe", {}, cas=0)


def test_half_of_the_variables_is_refused_and_none_changes_nothing() -> None:
    plain = HubSettings("http://127.0.0.1:8200")
    assert FailoverSettings.from_environment(plain, {}) is None
    for env, words in (
        ({"KEYTURN_HUB_NAME": "a"}, "KEYTURN_PEER_NAME is not set"),
        ({"KEYTURN_HUB_NAME": "a", "KEYTURN_PEER_NAME": "a", "KEYTURN_PEER_ADDR": "http://127.0.0.1:1"}, "one name"),
    ):
        with pytest.raises(Invalid, match=words):
            FailoverSettings.from_environment(plain, env)
    whole = {"KEYTURN_HUB_NAME": "a", "KEYTURN_PEER_NAME": "b", "KEYTURN_PEER_ADDR": "http://127.0.0.1:1"}
    for lease in ("soon", "3s"):
        with pytest.raises(Invalid, match="KEYTURN_FAILOVER_LEASE"):
            FailoverSettings.from_environment(plain, {**whole, "KEYTURN_FAILOVER_LEASE": lease})
    made = FailoverSettings.from_environment(plain, {**whole, "KEYTURN_FAILOVER_LEASE": "5m"})
    assert made is not None
    assert (made.lease, made.strict) == (timedelta(minutes=5), True)
    for emergencies in (
        made.without_lease(),
        FailoverSettings.from_environment(plain, {**whole, "KEYTURN_FAILOVER_LEASE": "none"}),
    ):
        assert emergencies is not None
        assert (emergencies.lease, emergencies.strict) == (None, False)


def run(*arguments: str) -> Result:
    """One command."""
    return CliRunner().invoke(app, arguments)


def words(done: Result) -> str:
    """All that a command said, without line breaks."""
    return " ".join((done.stdout + done.stderr).split())


Beside = Callable[[Region, Region], None]


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Beside:
    """Puts the commands beside one of two hubs."""
    for name in [name for name in os.environ if name.startswith(("VAULT_", "PREFECT_", "KEYTURN_HUB_"))]:
        monkeypatch.delenv(name)
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "all.yaml").write_text(yaml.safe_dump({"secrets": {}}))

    def put(region: Region, other: Region) -> None:
        login: Any = region.settings.login
        peer: Any = other.settings.login
        for name, value in {
            "VAULT_ADDR": region.settings.address,
            "KEYTURN_HUB_TOKEN_FILE": login.file,
            "KEYTURN_HUB_NAME": region.name,
            "KEYTURN_PEER_NAME": other.name,
            "KEYTURN_PEER_ADDR": other.settings.address,
            "KEYTURN_PEER_TOKEN_FILE": peer.file,
            "KEYTURN_HOME": str(tmp_path / "no-stack"),
            "KEYTURN_CATALOGUE": str(tmp_path / "catalogue"),
        }.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.mark.attack
def test_the_commands_show_hand_over_and_refuse(
    regions: tuple[Region, Region], beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> dict[str, tuple[str, str]]:
        """What the doctor says of the two, by what it is about."""
        checks = json.loads(run("doctor", "--json").stdout)["checks"]
        return {c["name"]: (c["grade"], c["words"]) for c in checks if c["area"] == "failover"}

    one, two = regions
    beside(one, two)
    shown = run("failover", "status")
    assert shown.exit_code == 1
    assert "KT219" in words(shown)
    assert told()["epoch"][0] == "failed"
    refused = run("failover", "demote")
    assert "nothing says which" in words(refused)
    done = run("failover", "promote", "--json")
    assert done.exit_code == 0, words(done)
    assert json.loads(done.stdout)["writable"] == "frankfurt"
    shown = run("failover", "status", "--json")
    assert shown.exit_code == 0
    assert [hub["writable"] for hub in json.loads(shown.stdout)["hubs"]] == ["frankfurt", None]
    assert json.loads(shown.stdout)["one_hub"] is False
    assert told()["dublin"] == ("ok", "it can be asked, and is another hub")
    assert told()["epoch"] == ("ok", "frankfurt is written since epoch 1")
    assert "dublin says nothing of two hubs" in told()["names"][1]
    beside(two, one)
    assert run("failover", "status").exit_code == 1
    assert "Demote it first" in words(run("failover", "promote"))
    beside(one, two)
    assert "bring dublin up to date" in words(run("failover", "demote"))
    assert told()["epoch"] == ("advice", "it is not written: dublin is written since epoch 2")
    beside(two, one)
    assert "epoch 2: dublin is written in" in words(run("failover", "promote"))
    with closing(VaultHub(one.settings)) as split_off:
        state = split_off.read_state(EPOCH)
        assert state is not None
        split_off.write_state(EPOCH, Epoch(2, "frankfurt").to_data(), cas=state.version)
    assert told()["epoch"][0] == "failed"
    assert "the two disagree: dublin names itself in epoch 2, and frankfurt itself in 2" in told()["epoch"][1]
    monkeypatch.delenv("KEYTURN_PEER_ADDR")
    assert "KEYTURN_PEER_ADDR is not set" in words(run("failover", "status"))
    for name in ("KEYTURN_HUB_NAME", "KEYTURN_PEER_NAME", "KEYTURN_PEER_TOKEN_FILE"):
        monkeypatch.delenv(name)
    grade, unfenced = told()["the other hub"]
    assert grade == "failed"
    assert "the hub is one of two, and dublin is written since epoch 2" in unfenced
    assert one.settings.address in words(run("doctor")), "the other one's address, by the last hand-over"


@pytest.mark.attack
def test_a_silent_or_identical_peer_is_reported_before_the_handover(
    regions: tuple[Region, Region], beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = regions
    beside(one, two)
    assert run("failover", "promote").exit_code == 0
    monkeypatch.setenv("KEYTURN_PEER_ADDR", "http://127.0.0.1:1")
    done = run("failover", "status")
    assert done.exit_code == 1
    assert "dublin: it can't be asked which of the two is written" in words(done)
    checks = json.loads(run("doctor", "--json").stdout)["checks"]
    assert [c["grade"] for c in checks if (c["area"], c["name"]) == ("failover", "dublin")] == ["unknown"]
    assert "was at " in next(c["words"] for c in checks if (c["area"], c["name"]) == ("failover", "names"))
    # By another name of the same machine, and the same token.
    port = one.settings.address.rpartition(":")[2]
    monkeypatch.setenv("KEYTURN_PEER_ADDR", f"http://localhost:{port}")
    monkeypatch.setenv("KEYTURN_PEER_TOKEN_FILE", os.environ["KEYTURN_HUB_TOKEN_FILE"])
    before = Pair(one.name, two.name, opened(one, two), VaultHub(one.settings)).look()[0].epoch
    for command in ("status", "demote", "promote"):
        done = run("failover", command)
        assert done.exit_code == 1, command
        assert "both addresses reach the same hub" in words(done), command
    after = Pair(one.name, two.name, opened(one, two), VaultHub(one.settings)).look()[0].epoch
    assert before is not None
    assert after is not None
    assert (before.number, before.version) == (after.number, after.version), "nothing was said"
    checks = json.loads(run("doctor", "--json").stdout)["checks"]
    assert [c["grade"] for c in checks if (c["area"], c["name"]) == ("failover", "dublin")] == ["failed"]


def test_one_that_was_made_from_the_others_snapshot_is_another_hub(regions: tuple[Region, Region]) -> None:
    one, two = regions
    here, there = opened(one, two), VaultHub(two.settings)
    alike: Any = Replaced(there, cluster=here.cluster)
    assert Pair(one.name, two.name, here, alike).leads_to_one() is False
    untold: Any = Replaced(there, cluster=lambda: (_ for _ in ()).throw(Denied("look at", "it", "within a namespace")))
    assert Pair(one.name, two.name, here, untold).leads_to_one() is False
    assert Pair(one.name, two.name, here, VaultHub(one.settings)).leads_to_one() is True


def test_the_commands_of_the_guide_hand_over_and_take_over(regions: tuple[Region, Region], beside: Beside) -> None:
    lines = [shlex.split(line, comments=True)[1:] for line in lines_of("disaster-recovery.md", "keyturn failover")]
    one, two = regions
    beside(one, two)
    assert run("failover", "promote").exit_code == 0
    places = [(one, two), (two, one), (two, one), (one, two)]
    for line, (here, peer) in zip(lines, places, strict=True):
        beside(here, peer)
        done = run(*line)
        assert done.exit_code == 0, (line, words(done))
    assert "frankfurt is written in" in words(done)
