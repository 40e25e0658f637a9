"""Following the hub by its audit file and versions, and the resulting pushes."""

import dataclasses
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hvac
import pytest

from keyturn.core.errors import Conflict, Denied, NotFound, Throttled, Unavailable
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.providers.vault.hub import VaultHub
from keyturn.rotation import run
from keyturn.rotation.state.context import Workspace, this_process
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from keyturn.sync import batches, follow
from keyturn.sync.audit_file import AuditFile, Position
from keyturn.sync.changes import EVERYTHING, AuditLines, ChangeSource, News, Polling
from keyturn.sync.follow import Follower
from local.openbao import OpenBao
from local.prepare import Hub
from local.support.ports import free_port
from tests.support.lab import Lab
from tests.support.mounts import make_kv
from tests.support.world import World
from tests.sync.site import Site

pytestmark = pytest.mark.sampled(9, of="file")

PATIENCE = 30
MOUNT = AuditLines("secret")


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A hub whose audit file may be moved away."""
    with OpenBao(tmp_path_factory.mktemp("bao"), free_port(), dev=True) as server:
        Hub(server.address, server.root_token).mounts()
        yield server


@pytest.fixture
def site(bao: OpenBao) -> Iterator[Site]:
    """A folder of its own in that hub, and two empty stores."""
    lab = Lab(World(bao.address, bao.root_token, "", 0, "", ""))
    lab.hub = VaultHub(HubSettings(bao.address, login=TokenLogin(file=str(bao.directory / "root.token"))))
    yield Site(lab)
    lab.hub.close()


@pytest.fixture
def root(bao: OpenBao) -> hvac.Client:
    """A client that knows nothing of Keyturn."""
    return hvac.Client(url=bao.address, token=bao.root_token)


@dataclasses.dataclass
class Followed:
    """A follower at work, and what it has said."""

    said: list[str]

    def errors(self) -> list[str]:
        return [line for line in self.said if line.startswith("error")]


@contextmanager
def following(source: ChangeSource, workspace: Callable[[], Workspace]) -> Iterator[Followed]:
    """A follower in a thread, past its first look at everything; ended as a signal ends it."""
    looked, stop, followed = threading.Event(), threading.Event(), Followed([])
    follower = Follower(workspace, source, followed.said.append, looked.set)
    thread = threading.Thread(target=follower.run, args=(stop,))
    thread.start()
    try:
        assert looked.wait(PATIENCE)
        yield followed
    finally:
        stop.set()
        thread.join(PATIENCE)
    assert not thread.is_alive()


def audit(bao: OpenBao, tmp_path: Path) -> AuditFile:
    return AuditFile(bao.audit_log, tmp_path / "position", MOUNT.changed)


def until(condition: Callable[[], Any]) -> None:
    """Return when it is so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def serves(site: Site, path: str, value: str, stores: tuple[str, ...] = ("one", "two")) -> Callable[[], bool]:
    return lambda: all(site.served(store).get(path) == json.dumps({"x": value}).replace(" ", "") for store in stores)


# --- from the hub to the stores


@pytest.fixture(params=["audit file", "polling"])
def source(request: pytest.FixtureRequest, bao: OpenBao, site: Site, tmp_path: Path) -> ChangeSource:
    """Either way to see changes."""
    return audit(bao, tmp_path) if request.param == "audit file" else Polling(lambda: site.lab.hub, 0.1)


def test_a_change_reaches_every_copy(site: Site, source: ChangeSource) -> None:
    first = site.write("a", x="1")
    workspace = site.workspace
    with following(source, lambda: workspace) as followed:
        until(serves(site, first, "1"))
        site.write("a", x="2")
        new = site.write("b", x="3")
        until(serves(site, first, "2"))
        until(serves(site, new, "3"))
    assert followed.errors() == []
    assert f"{new}: one:{new} created" in followed.said


def test_a_secret_that_the_hub_was_put_back_of_reaches_no_copy_while_others_do(
    site: Site, source: ChangeSource, root: hvac.Client
) -> None:
    """As after a restore: the hub counts anew, and what it holds may be dead."""
    for number in range(1, 4):
        path = site.write("a", x=str(number))
    workspace = site.workspace
    with following(source, lambda: workspace) as followed:
        until(serves(site, path, "3"))
        root.secrets.kv.v2.delete_metadata_and_all_versions(path)
        site.write("a", x="of before")
        until(lambda: any("restored from a backup" in line for line in followed.errors()))
        other = site.write("b", x="1")
        until(serves(site, other, "1"))
    assert serves(site, path, "3")(), "the copies go on serving what works"
    assert any(f"keyturn repair recover {path}" in line for line in followed.said)


def test_a_change_of_what_is_pushed_nowhere_is_nobodys_business(
    site: Site, source: ChangeSource, root: hvac.Client
) -> None:
    workspace = site.workspace
    with following(source, lambda: workspace) as followed:
        root.secrets.kv.v2.create_or_update_secret(f"elsewhere/{site.folder}", {"x": "1"})
        path = site.write("a", x="1")
        until(serves(site, path, "1"))
    assert followed.errors() == []
    assert not any("elsewhere" in line for line in followed.said)
    assert set(site.served("one")) == {path}


def test_an_unchanged_copy_is_not_written_again(site: Site, source: ChangeSource) -> None:
    path = site.write("a", x="1")
    workspace = site.workspace
    with following(source, lambda: workspace):
        until(serves(site, path, "1"))
        written = site.stores["one"].writes
        site.lab.hub.patch_metadata(path, {"note": "not a change of the value"})
        other = site.write("b", x="1")
        until(serves(site, other, "1"))
    assert site.stores["one"].writes == written + 1


def test_changes_that_come_together_are_one_batch(
    site: Site, bao: OpenBao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    workspace, bring = site.workspace, batches.bring_in_step

    def counted(workspace: Workspace, paths: list[str], patient: frozenset[str]) -> batches.BatchOutcome:
        seen.append(paths)
        return bring(workspace, paths, patient)

    monkeypatch.setattr(follow, "bring_in_step", counted)
    monkeypatch.setattr(follow, "GATHER", 2.0)
    with following(audit(bao, tmp_path), lambda: workspace):
        paths = [site.write(f"s{number}", x="1") for number in range(10)]
        until(serves(site, paths[-1], "1"))
    assert [batch for batch in seen if batch != [EVERYTHING]] in ([], [sorted(paths)])


def test_a_store_that_is_down_holds_up_no_other_and_is_tried_again(site: Site, source: ChangeSource) -> None:
    workspace = site.workspace
    with following(source, lambda: workspace) as followed:
        site.stores["one"].refuses = Unavailable("write", "one:a", "it does not answer", "Wait")
        path = site.write("a", x="1")
        until(serves(site, path, "1", ("two",)))
        until(lambda: followed.errors())
        assert path not in site.served("one")
        site.stores["one"].refuses = None
        until(serves(site, path, "1"))
    assert "tried again in 1 s" in followed.errors()[0]


def test_what_does_not_pass_by_itself_is_told_in_one_line_and_left(site: Site, source: ChangeSource) -> None:
    workspace = site.workspace
    with following(source, lambda: workspace) as followed:
        site.stores["one"].refuses = Denied("write", "one:a", "no right\nto write", "Grant it")
        path = site.write("a", x="1")
        until(lambda: followed.errors())
        other = site.write("b", x="1")
        until(serves(site, other, "1", ("two",)))
    told = [line for line in followed.errors() if path in line]
    assert told[0] == f"error: write one:a: no right to write. Grant it ({path}: left to the scheduled sync)"
    assert not any("tried again" in line for line in told)


def test_a_change_that_keeps_failing_is_left_to_the_schedule(
    site: Site, bao: OpenBao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "TRIES", 2)
    workspace = site.workspace
    with following(audit(bao, tmp_path), lambda: workspace) as followed:
        site.stores["one"].refuses = Throttled("write", "one:a", "slower", retry_after=0.0)
        path = site.write("a", x="1")
        until(lambda: any("left to the scheduled sync" in line for line in followed.said))
        assert path in site.served("two")
    assert Position.read(tmp_path / "position") is not None


def test_no_value_is_said_or_kept(site: Site, bao: OpenBao, tmp_path: Path) -> None:
    workspace = site.workspace
    with following(audit(bao, tmp_path), lambda: workspace) as followed:
        path = site.write("a", x="the-value")
        until(serves(site, path, "the-value"))
    assert "the-value" not in "".join(followed.said) + (tmp_path / "position").read_text()
    assert (tmp_path / "position").stat().st_mode & 0o777 == 0o600


def test_a_hub_that_is_down_is_told_once_and_the_change_comes_when_it_is_back(site: Site) -> None:
    workspace, hub = site.workspace, site.lab.hub
    down = threading.Event()

    class Shaky:
        """The hub, while it is up."""

        def __getattr__(self, name: str) -> Any:
            if name == "describe_below" and down.is_set():
                raise Unavailable("list", "secret", "the hub does not answer", "Wait")
            return getattr(hub, name)

    with following(Polling(Shaky, 0.1), lambda: workspace) as followed:  # type: ignore[arg-type]
        down.set()
        until(lambda: followed.errors())
        path = site.write("a", x="1")
        down.clear()
        until(lambda: "the hub's changes can be seen again" in followed.said)
        until(serves(site, path, "1"))
    assert len(followed.errors()) == 1


# --- the file is moved, cut and left


def test_a_change_is_seen_across_a_rotation_of_the_file(site: Site, bao: OpenBao, tmp_path: Path) -> None:
    workspace = site.workspace
    with following(audit(bao, tmp_path), lambda: workspace) as followed:
        until(lambda: (tmp_path / "position").exists())
        bao.audit_log.rename(bao.audit_log.with_name("audit.log.1"))
        before = site.write("before", x="1")
        until(serves(site, before, "1"))
        assert bao.process.pid is not None
        os.kill(bao.process.pid, signal.SIGHUP)
        until(bao.audit_log.exists)
        after = site.write("after", x="2")
        until(serves(site, after, "2"))
    assert followed.errors() == []


def test_a_restart_misses_nothing_and_looks_at_nothing_else(
    site: Site, bao: OpenBao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = site.workspace
    with following(audit(bao, tmp_path), lambda: workspace):
        path = site.write("a", x="1")
        until(serves(site, path, "1"))
    site.write("a", x="2")
    source = audit(bao, tmp_path)
    seen = [source.look(), source.look()]
    source.close()
    assert [path for one in seen for path in one.paths] == [path]
    with following(audit(bao, tmp_path), lambda: workspace):
        until(serves(site, path, "2"))


def test_a_change_that_was_not_done_yet_is_remembered_over_a_restart(site: Site, bao: OpenBao, tmp_path: Path) -> None:
    workspace = site.workspace
    with following(audit(bao, tmp_path), lambda: workspace) as followed:
        site.stores["one"].refuses = Unavailable("write", "one:a", "it does not answer", "Wait")
        path = site.write("a", x="1")
        until(lambda: any(path in line for line in followed.errors()))
    kept = Position.read(tmp_path / "position")
    assert kept is not None
    assert path in kept.pending
    site.stores["one"].refuses = None
    with following(audit(bao, tmp_path), lambda: workspace):
        until(serves(site, path, "1"))


def test_a_lost_position_costs_one_look_at_everything(site: Site, bao: OpenBao, tmp_path: Path) -> None:
    workspace = site.workspace
    path = site.write("a", x="1")
    (tmp_path / "position").write_text("{")
    with following(audit(bao, tmp_path), lambda: workspace):
        until(serves(site, path, "1"))


# --- together with a rotation


def test_a_rotation_and_a_follower_do_not_get_into_each_others_way(lab: Lab, openbao: OpenBao, tmp_path: Path) -> None:
    declared = lab.generated(destinations=[{"store": "memory", "name": "copy"}])
    opened = lab.open(declared)
    source = AuditFile(openbao.audit_log, tmp_path / "position", MOUNT.changed)
    with following(source, lambda: opened.workspace) as followed:
        until(lambda: opened.store.describe("copy") is not None)
        outcome = run.rotate(opened.workspace, declared.path, Trigger.FORCE)
    assert [place.in_step for place in outcome.destinations] == [True]
    assert opened.store.writes == 2
    assert followed.errors() == []


def test_what_a_living_rotation_has_written_is_left_to_it(lab: Lab) -> None:
    declared = lab.generated(destinations=[{"store": "memory", "name": "copy"}])
    opened = lab.open(declared, holder=this_process())
    run.rotate(opened.workspace, declared.path, Trigger.FORCE)
    written = opened.store.writes
    opened.store.delete("copy")
    patient = frozenset({declared.path})
    assert batches.bring_in_step(opened.workspace, [declared.path], patient) == batches.BatchOutcome(held=patient)
    assert batches.bring_in_step(opened.workspace, [declared.path], frozenset()).error is None
    assert opened.store.writes == written + 1


def test_what_somebody_writes_after_a_rotation_is_not_left_to_it(lab: Lab) -> None:
    declared = lab.generated(destinations=[{"store": "memory", "name": "copy"}])
    opened = lab.open(declared)
    run.rotate(opened.workspace, declared.path, Trigger.FORCE)
    info = lab.hub.describe(declared.path)
    assert info is not None
    lab.hub.write(declared.path, SecretFields({"value": "by hand"}), cas=info.version)
    outcome = batches.bring_in_step(opened.workspace, [declared.path], frozenset({declared.path}))
    assert [one.state for one in outcome.results] == ["updated"]


# --- audit lines


def line(operation: str, path: str, kind: str = "response", namespace: str = "", **more: Any) -> bytes:
    request = {"operation": operation, "path": path, "namespace": {"id": "root", "path": namespace}}
    return json.dumps({"type": kind, "request": request, **more}).encode() + b"\n"


def put(path: str) -> bytes:
    return line("update", f"secret/data/{path}")


@pytest.mark.parametrize(
    ("told", "path"),
    [
        (line("create", "secret/data/a/b"), "a/b"),
        (line("update", "secret/data/a"), "a"),
        (line("patch", "secret/data/a"), "a"),
        (line("delete", "secret/data/a"), "a"),
        (line("update", "secret/undelete/a"), "a"),
        (line("update", "secret/destroy/a"), "a"),
        (line("delete", "secret/metadata/a"), "a"),
        (line("update", "secret/metadata/a"), None),
        (line("read", "secret/data/a"), None),
        (line("update", "secret/data/a", kind="request"), None),
        (line("update", "secret/data/a", error="permission denied"), None),
        (line("update", "secret/data/a", namespace="team/"), None),
        (line("update", "other/data/a"), None),
        (line("update", "my-secret/data/a"), None),
        (line("update", "secret/data/"), None),
        (line("update", "sys/mounts/secret"), None),
        (b'{"type": "response"}', None),
    ],
)
def test_which_audit_lines_tell_a_change(told: bytes, path: str | None) -> None:
    assert MOUNT.changed(told) == path


def test_another_mount_in_a_namespace_is_followed_there_alone() -> None:
    lines = AuditLines("kv/team", "platform/eu")
    assert lines.changed(line("update", "kv/team/data/a", namespace="platform/eu/")) == "a"
    assert lines.changed(line("update", "kv/team/data/a")) is None


def test_openbao_and_namespaces_write_what_is_read_here(bao: OpenBao, root: hvac.Client) -> None:
    root.sys.create_namespace("team")
    inside = hvac.Client(url=bao.address, token=bao.root_token, namespace="team")
    make_kv(inside, "secret")
    until(lambda: inside.secrets.kv.v2.create_or_update_secret("in/namespace", {"x": "1"}))
    written = bao.audit_log.read_bytes().splitlines()
    assert "in/namespace" in map(AuditLines("secret", "team").changed, written)
    assert "in/namespace" not in map(MOUNT.changed, written)


# --- the file by itself


class Files:
    """A file that is written by hand, and its follower."""

    def __init__(self, directory: Path) -> None:
        self.log, self.position = directory / "audit.log", directory / "position"
        self.log.write_bytes(put("old"))
        self.now = 0.0
        self.source = self.open()

    def open(self) -> AuditFile:
        """As a new process would."""
        return AuditFile(self.log, self.position, MOUNT.changed, lambda: self.now)

    def add(self, text: bytes, file: Path | None = None) -> None:
        with (file or self.log).open("ab") as log:
            log.write(text)

    def seen(self, source: AuditFile | None = None) -> set[str]:
        """All that is to be seen now."""
        return set().union(*(seen.paths for seen in self.looks(source or self.source)))

    def looks(self, source: AuditFile) -> list[News]:
        looks = [source.look()]
        while looks[-1].more:
            looks.append(source.look())
        source.keep(())
        return looks


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    made = Files(tmp_path)
    assert made.seen() == {EVERYTHING}
    yield made
    made.source.close()


def test_it_begins_at_the_end(files: Files) -> None:
    assert files.seen() == set()
    files.add(put("a") + put("b"))
    assert files.seen() == {"a", "b"}
    assert files.seen() == set()


def test_half_a_line_waits_for_its_other_half(files: Files) -> None:
    text = put("a")
    files.add(text[:20])
    assert files.seen() == set()
    files.add(text[20:] + text[:5])
    assert files.seen() == {"a"}
    again = files.open()
    files.add(text[5:])
    assert files.seen(again) == {"a"}
    again.close()


def test_lines_that_can_not_be_read_are_counted_and_skipped(files: Files) -> None:
    files.add(b"not json\n\n[]\n\xff\xfe\n{}\n" + put("a"))
    look = files.source.look()
    assert (look.paths, look.unreadable) == ({"a"}, 4)


def test_a_beginning_within_a_line_is_no_unreadable_line(tmp_path: Path) -> None:
    (tmp_path / "audit.log").write_bytes(put("old")[:-10])
    source = AuditFile(tmp_path / "audit.log", tmp_path / "position", MOUNT.changed)
    assert source.look().paths == {EVERYTHING}
    with (tmp_path / "audit.log").open("ab") as log:
        log.write(put("old")[-10:] + put("a"))
    look = source.look()
    assert (look.paths, look.unreadable) == ({"a"}, 0)
    source.close()


def test_what_is_written_to_the_old_file_after_its_renaming_is_seen(files: Files) -> None:
    old = files.log.with_name("audit.log.1")
    files.log.rename(old)
    files.add(put("a"), old)
    assert files.seen() == {"a"}
    files.log.touch()
    files.add(put("b"), old)
    assert files.seen() == {"b"}
    files.add(put("c"), old)
    files.add(put("d"))
    assert files.seen() == {"c", "d"}


def test_several_rotations_since_the_last_look_count_as_everything(files: Files) -> None:
    files.now += 3600
    for number in (1, 2):
        files.log.rename(files.log.with_name(f"audit.log.{number}"))
        files.add(put(f"p{number}"))
    assert files.seen() == {EVERYTHING, "p2"}


def test_a_file_that_was_cut_is_read_from_its_beginning_and_counts_as_everything(files: Files) -> None:
    os.truncate(files.log, 0)
    files.add(put("a"))
    assert files.seen() == {EVERYTHING, "a"}
    files.add(put("b"))
    assert files.seen() == {"b"}


def test_a_file_that_was_cut_and_has_grown_again_is_noticed(files: Files) -> None:
    os.truncate(files.log, 0)
    files.add(put("another") * 50)
    assert files.seen() == {EVERYTHING, "another"}


def test_a_restart_goes_on_where_it_was(files: Files) -> None:
    files.add(put("a"))
    files.seen()
    files.add(put("b"))
    again = files.open()
    assert files.seen(again) == {"b"}
    again.close()


@pytest.mark.parametrize("how", ["gone", "broken", "another file", "shorter", "rotated"])
def test_a_position_that_does_not_fit_counts_as_everything_from_the_end(files: Files, how: str) -> None:
    files.add(put("a"))
    files.seen()
    if how == "gone":
        files.position.unlink()
    elif how == "broken":
        files.position.write_text('{"inode": 1}')
    elif how == "another file":
        files.log.write_bytes(put("x") * 100)
    elif how == "shorter":
        os.truncate(files.log, 3)
    else:
        files.log.rename(files.log.with_name("audit.log.1"))
        files.add(put("x"))
    again = files.open()
    assert files.seen(again) == {EVERYTHING}
    again.close()


def test_more_than_one_look_takes_is_seen_in_several(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyturn.sync.audit_file.CHUNK", 100)
    files.add(b"".join(put(f"p{number}") for number in range(50)))
    assert files.seen() == {f"p{number}" for number in range(50)}


def test_a_line_without_an_end_is_dropped(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyturn.sync.audit_file.LONGEST", 1000)
    files.add(b"\0" * 2000)
    assert files.source.look().unreadable == 1
    files.add(b"\0" * 10 + b"\n" + put("a"))
    look = files.source.look()
    assert (look.paths, look.unreadable) == ({"a"}, 0)


def test_a_file_that_is_not_there_is_told_with_a_remedy(tmp_path: Path) -> None:
    source = AuditFile(tmp_path / "none.log", tmp_path / "position", MOUNT.changed)
    with pytest.raises(NotFound, match="audit device"):
        source.look()


def test_a_position_that_can_not_be_kept_is_told_with_a_remedy(files: Files, tmp_path: Path) -> None:
    source = AuditFile(files.log, tmp_path / "nowhere" / "position", MOUNT.changed)
    source.look()
    with pytest.raises(Unavailable, match="--position"):
        source.keep(())
    source.close()


def test_only_errors_that_pass_are_tried_again() -> None:
    assert batches.transient("Unavailable")
    assert not batches.transient(Conflict.__name__)
    assert not batches.transient("NoSuchClass")


def test_waits_grow_up_to_a_minute() -> None:
    assert [follow.wait_after(failures) for failures in (1, 2, 3, 20)] == [1, 2, 4, 60]


def test_deleted_and_restored_secrets_are_seen_by_polling(site: Site, root: hvac.Client) -> None:
    path = site.write("a", x="1")
    source = Polling(lambda: site.lab.hub)
    assert source.look().paths == {EVERYTHING}
    kv = root.secrets.kv.v2
    for change in (
        lambda: kv.delete_latest_version_of_secret(path),
        lambda: kv.undelete_secret_versions(path, [1]),
        lambda: kv.delete_metadata_and_all_versions(path),
    ):
        assert source.look().paths == set()
        change()
        assert source.look().paths == {path}
