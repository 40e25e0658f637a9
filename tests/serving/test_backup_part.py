"""Backups in `keyturn serve`: with their own login, soon after each change."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.catalogue.operator.backups import BackupSettings
from keyturn.client.clock import elapsed
from keyturn.core.errors import Denied, KeyturnError, Unavailable
from keyturn.core.ports.backups import SECRETS
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.providers.files.backup_directory import BackupDirectory
from keyturn.providers.ledger.ed25519 import verify_ed25519
from keyturn.recovery.chains import OpenedChain, all_lines, newest_chain
from keyturn.recovery.manifests import SignatureCheck
from keyturn.rotation.state.context import Workspace
from keyturn.serving import backup_part
from keyturn.serving.parts import BACKUP, Tenure
from keyturn.serving.registry import make_parts
from keyturn.serving.site import BackupPlan, Site
from keyturn.wiring.backups import open_backup_maker, open_place, openable_keys
from tests.recovery.conftest import make_recovery_key
from tests.support.hooks import eventually
from tests.support.lab import Lab, fresh
from tests.support.people import hub_with

pytestmark = pytest.mark.sampled(2, of="file")

POLICIES = Path(__file__).parents[2] / "deployments" / "policies"


@pytest.fixture
def settings(tmp_path: Path) -> BackupSettings:
    return BackupSettings.model_validate(
        {
            "place": {"kind": "directory", "directory": str(tmp_path / "backups")},
            "keys": [f"x25519:{make_recovery_key(tmp_path / 'recovery.pem')}"],
            "every": "1s",
        }
    )


@pytest.fixture
def workspace(lab: Lab, tmp_path: Path) -> Workspace:
    """With the backup's login, which has the rendered policy and nothing else."""
    name = f"backup-{fresh()}"
    lab.root.sys.create_or_update_policy(name, (POLICIES / "keyturn-backup.hcl").read_text())
    token = lab.root.auth.token.create(policies=[name], no_default_policy=True)["auth"]["client_token"]
    lab.hub.fingerprint_keys()
    return replace(lab.open(lab.generated()).workspace, hub=hub_with(lab, token))


@contextmanager
def serving(workspace: Workspace, settings: BackupSettings) -> Iterator[tuple[Tenure, list[str]]]:
    """The part at work; what it says."""
    lines: list[str] = []
    nothing: Any = None
    plan = BackupPlan(lambda current: open_backup_maker(current, settings), settings.every, timedelta(days=1), 1)
    site = Site(lambda: workspace, nothing, lines.append, nothing, Path(), backup_plan=lambda _: plan)
    (part,) = make_parts(site, [BACKUP])
    tenure = Tenure(BACKUP, 1, elapsed, lambda: None)
    thread = threading.Thread(target=part.run, args=(tenure,))
    thread.start()
    try:
        yield tenure, lines
    finally:
        tenure.ended.set()
        thread.join(30)


def newest(settings: BackupSettings) -> OpenedChain | None:
    place = open_place(settings.place)
    try:
        return newest_chain(place, openable_keys(settings.keys), SignatureCheck(verify_ed25519))[0]
    except KeyturnError:
        return None


def at_last(settings: BackupSettings) -> OpenedChain:
    chain = newest(settings)
    assert chain is not None
    return chain


def test_a_change_is_in_an_increment_soon_with_the_least_rights_and_a_removed_chain_is_told_of(
    lab: Lab, workspace: Workspace, settings: BackupSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"backup/{fresh()}"
    with serving(workspace, settings) as (tenure, lines):
        assert eventually(lambda: newest(settings) is not None)
        base = at_last(settings)
        assert eventually(lambda: any(f"{base.name}/0: a base of" in line for line in lines))
        lab.hub.write(path, SecretFields({"password": "of no matter"}), cas=0)
        place = open_place(settings.place)

        def is_there() -> bool:
            chain = at_last(settings)
            written = [line.get("path") for _, line in all_lines(place, chain)] if chain.newest.sequence else []
            return chain.name == base.name and path in written

        assert eventually(is_there)
        with monkeypatch.context() as patch:
            gone = Unavailable("write", "the bucket", "it does not answer")
            patch.setattr(BackupDirectory, "put", lambda *_: (_ for _ in ()).throw(gone))
            assert eventually(lambda: bool(tenure.measure().trouble))
        assert eventually(lambda: not tenure.measure().trouble)
        assert at_last(settings).name == base.name, "the chain goes on"
        shutil.rmtree(Path(open_place(settings.place).name.removeprefix("directory ")) / base.name)
        assert eventually(lambda: (chain := newest(settings)) is not None and chain.name != base.name)
        assert any("the backup before this one is gone" in line for line in lines)


def test_an_hour_without_the_place_is_told_once_and_all_of_it_is_in_the_chain_afterwards(
    lab: Lab, workspace: Workspace, settings: BackupSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour: list[float] = []
    monkeypatch.setattr(backup_part, "elapsed", lambda: elapsed() + sum(hour))
    paths = [f"backup/{fresh()}" for _ in range(3)]
    with serving(workspace, settings) as (tenure, lines):
        assert eventually(lambda: newest(settings) is not None)
        base = at_last(settings)
        with monkeypatch.context() as patch:
            gone = Unavailable("write", "the bucket", "it does not answer")
            patch.setattr(BackupDirectory, "put", lambda *_: (_ for _ in ()).throw(gone))
            assert eventually(lambda: bool(tenure.measure().trouble))
            for path in paths:
                lab.hub.write(path, SecretFields({"password": "of no matter"}), cas=0)
                hour.append(1200.0)
                assert eventually(lambda: (tenure.measure().lag or 0) > sum(hour))
        assert eventually(lambda: not tenure.measure().trouble)
        assert eventually(lambda: (tenure.measure().lag or 0) < 600), "the recovery point is of now again"
        chain = at_last(settings)
        assert chain.name == base.name, "the chain goes on"
        written = {line.get("path") for _, line in all_lines(open_place(settings.place), chain)}
        assert set(paths) <= written
        assert sum("it does not answer" in line for line in lines) == 1, "it is told once"


def test_there_is_no_such_part_where_the_operator_declares_no_backups(lab: Lab) -> None:
    nothing: Any = None
    workspace = lab.open(lab.generated()).workspace
    site = Site(lambda: workspace, nothing, nothing, nothing, Path())
    assert BACKUP not in [part.name for part in make_parts(site)]


@pytest.mark.attack
def test_the_backup_login_may_change_nothing(lab: Lab, workspace: Workspace) -> None:
    path = f"backup/{fresh()}"
    lab.hub.write(path, SecretFields({"password": "first"}), cas=0)
    content = workspace.hub.content()
    attempts: list[Callable[[], object]] = [
        lambda: workspace.hub.write(path, SecretFields({"password": "mine"}), cas=1),
        lambda: content.destroy(SECRETS, path, [1]),
        lambda: content.settle(SECRETS, path, {"max_versions": 1}),
        lambda: content.remove(SECRETS, path),
        lambda: workspace.hub.write_state(f"rotations/{path}", {"stage": "mine"}, cas=0),
        lambda: content.import_key("mine", Sensitive("none")),
        lambda: content.unmount(SECRETS),
    ]
    for attempt in attempts:
        with pytest.raises(Denied):
            attempt()
    assert workspace.hub.read(path) is not None
