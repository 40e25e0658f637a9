"""Hub backups as base and increments: complete restores, and detected damage."""

import copy
import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from keyturn.client.client import SecretClient
from keyturn.client.policy import CachePolicy
from keyturn.client.sources import HubSource
from keyturn.core.errors import Conflict, Invalid, KeyturnError, Missing, NotFound, Unavailable
from keyturn.core.ports.backups import SECRETS, STATE, BackupPlace, Manifest
from keyturn.core.ports.envelope import SealRefused
from keyturn.core.ports.hub import VersionState
from keyturn.core.ports.ledger import Entry, Outcome
from keyturn.core.ports.restored import RestoredMark, mark_recovered, read_mark
from keyturn.core.sensitive import SecretFields
from keyturn.ledger.naming import BEING_RESTORED, LedgerName, insist_on_named, read_name
from keyturn.providers.files.backup_directory import BackupDirectory
from keyturn.providers.files.recovery_key import RecoveryDataKeys
from keyturn.providers.keys.backup_seal import RecipientKeys
from keyturn.providers.ledger.ed25519 import verify_ed25519
from keyturn.providers.ledger.sqlite import SqliteLedger
from keyturn.providers.vault.content import VaultContent
from keyturn.recovery import parts, restoring
from keyturn.recovery.chains import all_lines, list_chains, newest_chain, verify_chain
from keyturn.recovery.drilling import run_drill
from keyturn.recovery.making import BackupMaker
from keyturn.recovery.manifests import SignatureCheck
from keyturn.recovery.restoring import RestoreChange, plan_restore, restore_chain
from keyturn.recovery.subject import BackupSubject
from keyturn.rotation.repair.recoverable_values import of_hub
from local.openbao import OpenBao
from tests.ledger.keys import Key
from tests.recovery.conftest import UNSIGNED, Damage, Servers, Setting, hub_at, make_recovery_key, open_setting
from tests.support.hooks import eventually
from tests.support.lab import fresh
from tests.support.served import Clock

pytestmark = pytest.mark.sampled(3, of="file")


def restore(setting: Setting) -> restoring.RestoreResult:
    content = setting.restored.content()
    plan = plan_restore(content, setting.place, setting.newest())
    plan.insist(skip_newer=False)
    return restore_chain(content, setting.place, plan)


def directory_of(place: BackupDirectory) -> Path:
    return Path(place.name.removeprefix("directory "))


def backed_up(setting: Setting) -> Manifest:
    """Some secrets in a base and two increments."""
    maker = setting.maker()
    setting.write("ml/database", "first", "second", "third")
    setting.write("ml/gone", "first")
    setting.hub.write_state("rotations/ml/database", {"stage": "open"}, cas=0)
    setting.hub.write_state("quiet/0", {"of": "no matter"}, cas=0)
    assert maker.make_increment().sequence == 0
    setting.write("ml/database", "fourth")
    setting.hub.patch_metadata("ml/database", {"keyturn-token": "rot-1"})
    setting.hub.write_state("rotations/ml/database", {"stage": "done"}, cas=1)
    assert maker.make_increment().counts == {"all": 4, "secrets": 1, "state": 1}
    setting.hub.content().remove(SECRETS, "ml/gone")
    newest = maker.make_increment()
    assert (newest.sequence, newest.counts) == (2, {"all": 3, "secrets": 0, "state": 0, "removed": 1})
    return newest


@pytest.mark.attack
def test_a_hub_comes_back_with_values_numbers_and_metadata(setting: Setting) -> None:
    newest = backed_up(setting)
    result = restore(setting)
    assert result.faults == []
    hub = setting.restored
    info = hub.describe("ml/database")
    assert info is not None
    assert (info.version, info.custom["keyturn-token"]) == (4, "rot-1")
    assert [version.state for version in info.versions] == [VersionState.DESTROYED] * 2 + [VersionState.READABLE] * 2
    current, before = hub.read("ml/database"), hub.read("ml/database", 3)
    assert current is not None
    assert before is not None
    original = setting.hub.read("ml/database")
    assert original is not None
    names: Any = SimpleNamespace(fingerprint=lambda *_: "of no matter")
    candidate = of_hub(names, current)
    assert candidate.created_at == original.created_at, "a copy made since is newer, although this is written anew"
    assert (current.fields["password"].reveal(), before.fields["password"].reveal()) == ("fourth", "third")
    assert hub.read("ml/gone") is None
    state = hub.read_state("rotations/ml/database")
    assert state is not None
    assert state.data == {"stage": "done"}
    assert hub.read_state("quiet/0") is None, "what may be deleted at any time is left out"
    assert hub.fingerprint_keys().make("ml/database", current.fields["password"]) == (
        setting.hub.fingerprint_keys().make("ml/database", current.fields["password"])
    )
    mark = read_mark(hub)
    assert mark is not None
    assert (mark.whole, mark.chain, mark.point) == (True, newest.chain, newest.begun_at)
    assert plan_restore(hub.content(), setting.place, setting.newest()).counts == {RestoreChange.KEEP: 3}


def test_as_many_entries_are_restored_as_the_plan_says(setting: Setting) -> None:
    setting.write("ml/database", "first", "second")
    setting.hub.claim_state("ledger", LedgerName("keyturn/main").to_data())
    setting.hub.write_state("rotations/ml/database", {"stage": "done"}, cas=0)
    setting.hub.write_state("rotations/ml/gone", {"stage": "done"}, cas=0)
    path = f"{setting.hub.settings.state_mount}/data/rotations/ml/gone"
    setting.calls.delete("delete", path, path)
    setting.maker().make_base()
    plan = plan_restore(setting.restored.content(), setting.place, setting.newest())
    result = restore(setting)
    assert (result.written, result.faults) == (plan.counts[RestoreChange.WRITE], [])
    assert plan_restore(setting.restored.content(), setting.place, setting.newest()).counts[RestoreChange.WRITE] == 0
    assert restore(setting).written == 0


KEPT = CachePolicy(ttl=60.0)


@pytest.mark.attack
def test_a_standby_is_updated_by_restoring_again_unless_it_was_used(setting: Setting) -> None:
    maker = setting.maker()
    for path in ("ml/database", "ml/other"):
        setting.write(path, "first")
        setting.hub.write_state(f"rotations/{path}", {"stage": "open"}, cas=0)
    maker.make_increment()
    restore(setting)
    setting.write("ml/database", "second")
    setting.hub.write_state("rotations/ml/database", {"stage": "done"}, cas=1)
    maker.make_increment()
    restore(setting)
    record, current = setting.restored.read_state("rotations/ml/database"), setting.restored.read("ml/database")
    assert record is not None
    assert current is not None
    assert (record.data, current.version) == ({"stage": "done"}, 2)
    # Whoever has taken over has written there since.
    setting.restored.write_state("rotations/ml/other", {"stage": "of its own"}, cas=1)
    setting.hub.write_state("rotations/ml/other", {"stage": "done"}, cas=1)
    maker.make_increment()
    with pytest.raises(Conflict, match=r"rotations/ml/other \(other\)"):
        restore(setting)
    mark_recovered(setting.restored, marked(setting), setting.restored.now())
    setting.hub.write_state("rotations/ml/database", {"stage": "of the old hub"}, cas=2)
    maker.make_increment()
    with pytest.raises(Conflict, match=r"rotations/ml/database \(other\)"):
        restore(setting)


def marked(setting: Setting) -> RestoredMark:
    mark = read_mark(setting.restored)
    assert mark is not None
    return mark


class Moved:
    """The name of a hub, which may lead to another one."""

    def __init__(self, source: HubSource) -> None:
        self.source = source

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)


@pytest.mark.attack
def test_a_restored_hub_gives_no_older_version_than_an_application_has_seen(
    setting: Setting,
) -> None:
    """The hub has written the old version anew just now: only its first moment tells that it is of before."""
    maker = setting.maker()
    setting.write("ml/database", "first")
    maker.make_increment()
    setting.write("ml/database", "second")
    clock, hub = Clock(), Moved(HubSource(setting.hub))
    with SecretClient([hub], policy=KEPT, clock=clock, poll=0) as client:
        assert client.get("ml/database").version == 2
        content = setting.restored.content()
        restore_chain(content, setting.place, plan_restore(content, setting.place, setting.newest()))
        hub.source = HubSource(setting.restored)
        clock.now += KEPT.ttl + 1
        kept = client.get("ml/database")
        assert (kept.version, kept.fields["password"].reveal()) == (2, "second"), "what it has seen is newer"
        # Written once more by `keyturn repair recover`, or by a rotation.
        setting.restored.write("ml/database", SecretFields({"password": "third"}), cas=1)
        setting.restored.write("ml/database", SecretFields({"password": "fourth"}), cas=2)
        clock.now += KEPT.ttl + 1
        assert eventually(lambda: client.get("ml/database").fields["password"].reveal() == "fourth")


def test_an_earlier_point_of_the_chain_can_be_restored(setting: Setting) -> None:
    backed_up(setting)
    chain = setting.newest().until(0)
    content = setting.restored.content()
    restore_chain(content, setting.place, plan_restore(content, setting.place, chain))
    there = setting.restored.read("ml/gone")
    assert there is not None
    assert setting.restored.describe("ml/database").version == 3  # type: ignore[union-attr]
    with pytest.raises(NotFound, match="0 to 2"):
        setting.newest().until(3)


def test_transit_keys_come_back_where_the_hub_gives_them_and_are_named_where_not(setting: Setting) -> None:
    transit = setting.hub.settings.transit_mount
    setting.hub.content().make_transit()
    allowed = {"exportable": True, "allow_plaintext_backup": True}
    setting.calls.post("make", "given", f"{transit}/keys/given", {"type": "ed25519", **allowed})
    setting.calls.post("make", "kept", f"{transit}/keys/kept", {"type": "ed25519"})
    maker = setting.maker()
    manifest = maker.make_increment()
    assert "transit key kept: it is not exportable, or allows no backup" in manifest.missing
    assert not [line for line in manifest.missing if "given" in line]
    setting.calls.post("rotate", "given", f"{transit}/keys/given/rotate", {})
    assert maker.make_increment().counts["keys"] == 1
    assert restore(setting).keys == ["given"]
    assert setting.restored.signer("given").public_keys() == setting.hub.signer("given").public_keys()


@pytest.mark.parametrize("held", ["newer", "other"])
@pytest.mark.attack
def test_a_restore_overwrites_nothing_newer_or_different_in_the_hub(setting: Setting, held: str) -> None:
    backed_up(setting)
    setting.write("ml/new", "only here")
    for area in setting.restored.content().areas:
        setting.restored.content().make_mount(area)
    at_other = Setting(setting.restored, setting.restored, setting.place, setting.keys, setting.calls)
    at_other.write("ml/database", *"abcd", *("e" if held == "newer" else ""))
    with pytest.raises(Conflict, match=rf"ml/database \({held}\)"):
        restore(setting)
    assert setting.restored.read_state("rotations/ml/database") is None, "nothing was written"
    plan = plan_restore(setting.restored.content(), setting.place, setting.newest())
    plan.insist(skip_newer=True)
    restore_chain(setting.restored.content(), setting.place, plan)
    current = setting.restored.read("ml/database")
    assert current is not None
    assert current.fields["password"].reveal() == ("e" if held == "newer" else "d")
    assert setting.restored.read_state("rotations/ml/database") is not None


def test_a_second_restore_that_was_cut_off_goes_on_too(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = setting.maker()
    for number in range(3):
        setting.hub.write_state(f"rotations/ml/{number}", {"stage": "open"}, cas=0)
    setting.write("ml/0", "first")
    maker.make_increment()
    restore(setting)
    for number in range(3):
        setting.hub.write_state(f"rotations/ml/{number}", {"stage": "done"}, cas=1)
    maker.make_increment()
    with monkeypatch.context() as patch:
        patch.setattr(restoring, "_write_other", lambda *_: (_ for _ in ()).throw(Unavailable("write", "x", "cut off")))
        with pytest.raises(Unavailable, match="cut off"):
            restore(setting)
    assert not marked(setting).whole
    for number in range(3):
        setting.hub.write_state(f"rotations/ml/{number}", {"stage": "over"}, cas=2)
    maker.make_increment()
    assert restore(setting).faults == [], "the hub that is backed up has gone on meanwhile"
    for number in range(3):
        state = setting.restored.read_state(f"rotations/ml/{number}")
        assert state is not None
        assert state.data == {"stage": "over"}


def test_a_plan_names_what_was_taken_away_before_the_backup_and_since(setting: Setting) -> None:
    """Of a hub that came back from an older snapshot, and of one that has gone on."""
    maker, hub = setting.maker(), setting.hub
    for path in ("ml/removed", "ml/leaked", "ml/kept", "ml/ended"):
        setting.write(path, "first", "second")
    maker.make_increment()
    restore(setting)
    hub.content().remove(SECRETS, "ml/removed")
    hub.destroy("ml/leaked", [1])
    setting.write("ml/leaked", "third")
    maker.make_increment()
    older = plan_restore(setting.restored.content(), setting.place, setting.newest()).since
    assert (older.removed, older.destroyed) == (["ml/removed"], [])
    hub.destroy("ml/leaked", [2])
    maker.make_increment()
    older = plan_restore(setting.restored.content(), setting.place, setting.newest()).since
    assert (older.removed, older.returning, older.ended) == (["ml/removed"], [], [])
    assert older.destroyed == ["ml/leaked version 1", "ml/leaked version 2"]
    hub.content().remove(SECRETS, "ml/kept")
    hub.destroy("ml/ended", [1, 2])
    gone_on = plan_restore(hub.content(), setting.place, setting.newest()).since
    assert gone_on.returning == ["ml/kept"]
    assert gone_on.ended == ["ml/ended version 1", "ml/ended version 2"]
    assert (gone_on.removed, gone_on.destroyed) == ([], [])

    setting.maker().make_increment()  # a base, which tells of nothing that is gone
    older = plan_restore(setting.restored.content(), setting.place, setting.newest()).since
    assert (older.removed, older.unbacked) == ([], ["ml/kept", "ml/removed"])
    assert plan_restore(hub.content(), setting.place, setting.newest()).since.unbacked == []


def test_a_version_that_was_destroyed_before_the_backup_and_can_be_read_is_named(setting: Setting) -> None:
    maker = setting.maker()
    setting.write("ml/leaked", "first", "second", "third")
    maker.make_increment()
    restore(setting)
    setting.hub.destroy("ml/leaked", [2, 3])
    setting.write("ml/leaked", "fourth")
    maker.make_increment()
    since = plan_restore(setting.restored.content(), setting.place, setting.newest()).since
    assert since.destroyed == ["ml/leaked version 2", "ml/leaked version 3"]


@pytest.mark.attack
def test_an_interrupted_restore_blocks_other_work_and_can_continue(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db", "keyturn/here", patience=5)
    setting.hub.claim_state("ledger", LedgerName("keyturn/here").to_data())
    setting.write("ml/database", "first")
    setting.maker().make_base()
    with monkeypatch.context() as patch:
        patch.setattr(restoring, "_write_other", lambda *_: (_ for _ in ()).throw(Unavailable("write", "x", "cut off")))
        with pytest.raises(Unavailable, match="cut off"):
            restore(setting)
    mark = read_mark(setting.restored)
    assert mark is not None
    assert not mark.whole
    name, _ = read_name(setting.restored)
    assert name is not None
    assert name.origin.startswith(BEING_RESTORED)
    with pytest.raises(KeyturnError, match="not whole"):
        insist_on_named(setting.restored, ledger)
    assert restore(setting).faults == []
    assert read_mark(setting.restored).whole  # type: ignore[union-attr]
    assert insist_on_named(setting.restored, ledger).origin == "keyturn/here"
    ledger.close()


def test_the_ledger_and_the_catalogues_files_are_in_it(setting: Setting, tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db", "keyturn/here", patience=5)
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    files = {"secrets.yaml": b"secrets: {}\n"}
    subject = BackupSubject(setting.hub.content(), setting.hub.fingerprint_keys, ledger, lambda: files)
    maker = BackupMaker(subject, setting.place, setting.keys)
    ledger.append([Entry(moment, "somebody", "rotate", Outcome.DONE, f"ml/{number}") for number in range(3)])
    assert maker.make_increment().ledger.size == 3
    ledger.append([Entry(moment, "somebody", "retire", Outcome.DONE, "ml/3")])
    assert maker.make_increment().counts == {"all": 1, "state": 0, "ledger": 1}
    with (tmp_path / "entries").open("wb") as entries, (tmp_path / "notes").open("wb") as notes:
        assert restoring.export_ledger(setting.place, setting.newest(), entries, notes) == 4
    assert (tmp_path / "entries").read_bytes().splitlines() == [leaf for _, leaf in ledger.leaves()]
    assert restore(setting).files == files
    ledger.close()


def first_part(chain: Path) -> Path:
    return min(chain.glob("00000000-*.00000.part"))


def flip(chain: Path) -> None:
    part = first_part(chain)
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)


def cut(chain: Path) -> None:
    first_part(chain).write_bytes(first_part(chain).read_bytes()[:-1])


def exchange(chain: Path) -> None:
    first, second = sorted(chain.glob("00000000-*.part"))[:2]
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def lose_part(chain: Path) -> None:
    first_part(chain).unlink()


def lose_increment(chain: Path) -> None:
    (chain / "00000001.manifest").unlink()


def repeat_increment(chain: Path) -> None:
    shutil.copy(chain / "00000001.manifest", chain / "00000002.manifest")


def lose_base(chain: Path) -> None:
    (chain / "00000000.manifest").unlink()


def blur_manifest(chain: Path) -> None:
    manifest = chain / "00000002.manifest"
    manifest.write_bytes(manifest.read_bytes()[:-20] + bytes(20))


DAMAGES: list[tuple[Damage, str, int]] = [
    (flip, "changed, truncated or replaced", 3),
    (cut, "changed, truncated or replaced", 3),
    (exchange, "changed, truncated or replaced", 3),
    (lose_part, "it is gone", 3),
    (lose_increment, "does not follow", 1),
    (repeat_increment, "another backup's manifest", 2),
    (lose_base, "the manifest of its base is missing", 0),
    (blur_manifest, "changed or cut short", 2),
]


@pytest.fixture(scope="module")
def whole(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    """Backups of several parts each, which tests damage copies of."""
    with open_setting(servers, tmp_path_factory.mktemp("whole")) as setting, pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART_BYTES", 200)
        backed_up(setting)
        yield setting


@pytest.mark.parametrize(("damage", "words", "holding"), DAMAGES, ids=lambda value: getattr(value, "__name__", None))
@pytest.mark.attack
def test_a_tampered_backup_is_detected_and_not_restored(
    whole: Setting, tmp_path: Path, damage: Damage, words: str, holding: int
) -> None:
    shutil.copytree(directory_of(whole.place), tmp_path / "backups")
    place, chain = BackupDirectory(tmp_path / "backups"), whole.newest().name
    (stored,) = list_chains(place)
    before = verify_chain(place, stored, whole.keys, UNSIGNED)
    assert (before.problem, before.good) == (None, 2)
    damage(tmp_path / "backups" / chain)
    (stored,) = list_chains(place)
    check = verify_chain(place, stored, whole.keys, UNSIGNED)
    assert check.problem is not None
    assert words in str(check.problem)
    assert check.backups == holding
    if holding == 3:
        with pytest.raises(SealRefused, match=words):
            plan_restore(whole.restored.content(), place, newest_chain(place, whole.keys, UNSIGNED)[0])


def test_of_a_damaged_part_the_last_point_that_holds_is_offered_and_restores(whole: Setting, tmp_path: Path) -> None:
    shutil.copytree(directory_of(whole.place), tmp_path / "backups")
    place, chain = BackupDirectory(tmp_path / "backups"), whole.newest().name
    for damaged in (2, 1):
        (part,) = list((tmp_path / "backups" / chain).glob(f"{damaged:08d}-*.00000.part"))
        part.write_bytes(b"somebody else's")
        opened, _ = newest_chain(place, whole.keys, UNSIGNED)
        check = verify_chain(place, list_chains(place)[0], whole.keys, UNSIGNED)
        assert check.good == damaged - 1
        assert isinstance(check.problem, KeyturnError)
        assert f"keyturn backup restore {chain}/{damaged - 1}" in check.problem.hint
        with pytest.raises(SealRefused) as refused:
            plan_restore(whole.restored.content(), place, opened.until(damaged))
        assert f"keyturn backup restore {chain}/{damaged - 1}" in refused.value.hint
        assert plan_restore(whole.restored.content(), place, opened.until(check.good)).writes
    (tmp_path / "backups" / chain / first_part(tmp_path / "backups" / chain).name).unlink()
    check = verify_chain(place, list_chains(place)[0], whole.keys, UNSIGNED)
    assert check.good is None
    assert check.problem is not None
    assert "Take another chain" in check.problem.hint


@pytest.mark.attack
def test_a_mount_without_a_backup_is_reported(setting: Setting) -> None:
    name = setting.hub.settings.mount.partition("/")[0]
    for mount, version in ((f"{name}/apps", "2"), (f"{name}/old", "1")):
        setting.calls.post(
            "make", mount, f"sys/mounts/{mount}", {"type": "kv", "options": {"version": version}, "local": False}
        )
    others = setting.hub.content().other_mounts()
    assert f"{name}/apps" in others
    assert f"{name}/old (KV version 1)" in others
    assert not {setting.hub.settings.mount, setting.hub.settings.state_mount} & set(others)
    (line,) = [line for line in setting.maker().make_base().missing if "KV mounts" in line]
    assert "name them under `mounts:` in the catalogue" in line
    with_apps = setting.hub.mounted({"apps": f"{name}/apps"})
    assert f"{name}/apps" not in with_apps.content().other_mounts()


@pytest.mark.attack
def test_an_incomplete_backup_is_not_used(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    setting.write("ml/database", "first")
    maker = setting.maker()
    put = BackupDirectory.put

    def cut_off(place: BackupPlace, name: str, content: bytes) -> None:
        if name.endswith(".manifest"):
            raise Unavailable("write", name, "the machine has gone")
        put(setting.place, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(BackupDirectory, "put", cut_off)
        with pytest.raises(Unavailable):
            maker.make_increment()
    (stored,) = list_chains(setting.place)
    assert stored.objects
    assert stored.manifests == ()
    with pytest.raises(SealRefused, match="never finished"):
        setting.newest()
    assert maker.make_increment().sequence == 0, "the next one is a base of its own"
    assert setting.newest().newest.counts["secrets"] == 1


@pytest.mark.attack
def test_a_backup_that_is_deleted_is_noticed_by_the_next_one(setting: Setting) -> None:
    maker = setting.maker()
    newest = maker.make_increment()
    shutil.rmtree(directory_of(setting.place) / newest.chain)
    with pytest.raises(Missing, match="is gone"):
        maker.make_increment()
    assert maker.make_increment().chain != newest.chain


@pytest.mark.attack
def test_another_key_opens_nothing_and_a_stolen_backup_shows_no_value(setting: Setting, tmp_path: Path) -> None:
    newest = backed_up(setting)
    other = RecipientKeys({"x25519:other": RecoveryDataKeys(make_recovery_key(tmp_path / "other.pem"))})
    with pytest.raises(SealRefused, match="another recovery key"):
        newest_chain(setting.place, other, UNSIGNED)
    files = list((directory_of(setting.place) / newest.chain).iterdir())
    assert len(files) >= 6
    for file in files:
        content = file.read_bytes()
        assert not any(word in content for word in (b"fourth", b"ml/database", b"rotations"))


@pytest.mark.attack
def test_a_backup_without_the_right_signature_is_not_restored(setting: Setting) -> None:
    """Whoever has the public half of a recovery key can seal a backup of their own."""
    setting.write("ml/database", "first")
    ours, theirs = Key(), Key()
    subject = BackupSubject(setting.hub.content(), setting.hub.fingerprint_keys)
    check = SignatureCheck(verify_ed25519, ours.public_key())
    BackupMaker(subject, setting.place, setting.keys, ours).make_base()
    good = newest_chain(setting.place, setting.keys, check)[0]
    BackupMaker(subject, setting.place, setting.keys, theirs).make_base()
    BackupMaker(subject, setting.place, setting.keys).make_base()
    chain, passed = newest_chain(setting.place, setting.keys, check)
    if chain.name == good.name:
        assert all("has not signed it" in str(error) for error in passed)
    for stored in list_chains(setting.place):
        problem = verify_chain(setting.place, stored, setting.keys, check).problem
        assert (problem is None) == (stored.name == good.name)


def test_a_drill_compares_everything_and_leaves_nothing(servers: Servers, setting: Setting) -> None:
    newest = backed_up(setting)
    scratch = hub_at(servers.other, "KEYTURN_TEST_OTHER", f"keyturn-drill/{fresh()}")
    setting.write("ml/later", "first")
    live = setting.hub.content()

    report = run_drill(
        scratch.content(), scratch.fingerprint_keys, setting.place, setting.newest, setting.hub.now(), live
    )
    assert report.proven
    assert (report.entries, report.versions, report.point) == (3, 4, newest.begun_at)
    assert report.live is not None
    assert report.live.entries == 1
    assert not any(scratch.content().has_mount(area) for area in scratch.content().areas)
    scratch.close()


def test_a_drill_tells_what_did_not_come_back_as_it_was(
    servers: Servers, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    backed_up(setting)
    scratch = hub_at(servers.other, "KEYTURN_TEST_OTHER", f"keyturn-drill/{fresh()}")
    write = restoring._write_entry

    def spoiling(content: object, present: object, line: dict[str, object], *more: object) -> int:
        if line["path"] == "ml/database":
            versions = [{**version, "fields": {"password": "another"}} for version in line["versions"]]  # type: ignore[attr-defined]
            line = {**line, "versions": versions}
        return write(content, present, line, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(restoring, "_write_entry", spoiling)
    report = run_drill(scratch.content(), scratch.fingerprint_keys, setting.place, setting.newest, setting.hub.now())
    assert not report.proven
    assert report.differing == (f"{SECRETS} ml/database version 3", f"{SECRETS} ml/database version 4")
    assert STATE not in str(report.differing)
    scratch.close()


def aliased(server: OpenBao) -> OpenBao:
    """The same server under another name."""
    alias = copy.copy(server)
    alias.address = alias.address.replace("127.0.0.1", "localhost")
    return alias


@pytest.mark.attack
def test_the_hub_in_use_is_never_taken_as_a_scratch_hub(servers: Servers, setting: Setting) -> None:
    setting.write("ml/database", "first")
    setting.maker().make_base()
    other_name = aliased(servers.live)
    scratch = hub_at(other_name, "KEYTURN_TEST_LIVE", f"keyturn-drill/{fresh()}")
    for live in (setting.hub.content(), None):
        with pytest.raises(Invalid, match="under another name"):
            run_drill(
                scratch.content(), scratch.fingerprint_keys, setting.place, setting.newest, setting.hub.now(), live
            )
    assert not any(scratch.content().has_mount(area) for area in scratch.content().areas)
    scratch.close()


@pytest.mark.attack
def test_an_additional_base_does_not_hide_the_continued_chain(setting: Setting) -> None:
    goes_on, besides = setting.maker(), setting.maker()
    goes_on.make_base()
    at = goes_on.make_increment().begun_at
    assert eventually(lambda: setting.hub.now() > at)
    one = besides.make_base()
    at = one.begun_at
    assert setting.newest().name == one.chain
    assert eventually(lambda: setting.hub.now() > at)
    setting.write("ml/database", "later than the other's base")
    newest = goes_on.make_increment()
    assert (setting.newest().name, setting.newest().newest.sequence) == (newest.chain, 2)


@pytest.mark.attack
def test_a_chain_of_a_clock_that_was_ahead_is_not_the_newest_for_a_year(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(VaultContent, "now", lambda _: datetime(2090, 1, 1, tzinfo=UTC))
        ahead = setting.maker().make_base()
    at = setting.hub.now() + timedelta(seconds=2)  # the hub tells whole seconds
    assert setting.newest().name == ahead.chain
    assert eventually(lambda: setting.hub.now() > at)
    assert setting.maker().make_base().chain == setting.newest().name


@pytest.mark.attack
def test_foreign_files_next_to_a_chain_break_nothing(whole: Setting, tmp_path: Path) -> None:
    shutil.copytree(directory_of(whole.place), tmp_path / "backups")
    place, chain = BackupDirectory(tmp_path / "backups"), whole.newest().name
    for name in ("-.manifest", "00000000x.manifest", "x/00000001.manifest", "99999999.part"):
        place.put(f"{chain}/{name}", b"not ours")
    place.put("99999999T999999Z-00000000/00000000.manifest", b"not ours")
    opened, passed = newest_chain(place, whole.keys, UNSIGNED)
    assert (opened.name, opened.newest.sequence, opened.problem) == (chain, 2, None)
    assert len(passed) == 1


class Together(BackupDirectory):
    """A place that gives parts only to as many as ask for them at once."""

    def __init__(self, directory: Path, parties: int) -> None:
        super().__init__(directory)
        self._barrier = threading.Barrier(parties, timeout=60)

    def get(self, name: str) -> bytes:
        self._barrier.wait()
        return super().get(name)


def test_the_parts_of_small_backups_are_fetched_together_and_read_in_order(setting: Setting) -> None:
    maker = setting.maker()
    for number in range(4):
        setting.write(f"ml/{number}", "value")
        maker.make_increment()
    chain = setting.newest()
    assert len(chain.manifests) == 4
    place = Together(directory_of(setting.place), sum(len(manifest.parts) for manifest in chain.manifests))
    read = [(manifest.sequence, line.get("path")) for manifest, line in all_lines(place, chain)]
    assert [sequence for sequence, _ in read] == sorted((sequence for sequence, _ in read), reverse=True)
    assert [path for _, path in read if str(path).startswith("ml/")] == ["ml/3", "ml/2", "ml/1", "ml/0"]


@pytest.mark.attack
def test_a_base_that_is_removed_is_noticed_although_the_newest_increment_is_there(setting: Setting) -> None:
    maker = setting.maker()
    setting.write("ml/database", "first")
    base = maker.make_base()
    maker.make_increment()
    setting.place.remove(base.parts[0].name)
    with pytest.raises(Missing, match="is gone"):
        [maker.make_increment() for _ in range(3)]
    assert maker.make_increment().sequence == 0


@pytest.mark.attack
def test_a_restore_does_not_change_the_ledger_of_a_hub_in_use(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting.hub.claim_state("ledger", LedgerName("keyturn/before").to_data())
    setting.write("ml/database", "first")
    setting.maker().make_base()
    for area in setting.restored.content().areas:
        setting.restored.content().make_mount(area)
    setting.restored.claim_state("ledger", LedgerName("keyturn/moved").to_data())

    def again() -> None:
        plan = plan_restore(setting.restored.content(), setting.place, setting.newest())
        plan.insist(skip_newer=True)
        restore_chain(setting.restored.content(), setting.place, plan)

    with monkeypatch.context() as patch:
        patch.setattr(restoring, "_write_other", lambda *_: (_ for _ in ()).throw(Unavailable("write", "x", "cut off")))
        with pytest.raises(Unavailable, match="cut off"):
            again()
    again()
    name, _ = read_name(setting.restored)
    assert name == LedgerName("keyturn/moved")
    assert setting.restored.read("ml/database") is not None
