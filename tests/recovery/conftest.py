"""A hub that is backed up, another one that is empty, and a place and keys for what is backed up."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyturn.core.sensitive import SecretFields
from keyturn.providers.files.backup_directory import BackupDirectory
from keyturn.providers.files.recovery_key import RecoveryDataKeys
from keyturn.providers.keys.backup_seal import RecipientKeys
from keyturn.providers.ledger.ed25519 import verify_ed25519
from keyturn.providers.vault.client import Calls
from keyturn.providers.vault.hub import VaultHub
from keyturn.recovery.chains import OpenedChain, newest_chain
from keyturn.recovery.making import BackupMaker
from keyturn.recovery.manifests import SignatureCheck
from keyturn.recovery.subject import BackupSubject
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from local.openbao import OpenBao
from local.support.ports import free_port
from tests.support.lab import fresh

UNSIGNED = SignatureCheck(verify_ed25519)


@dataclass(frozen=True)
class Servers:
    """Two hubs in memory: ``live`` is backed up, ``other`` is restored into."""

    live: OpenBao
    other: OpenBao


@pytest.fixture(scope="package")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with (
        OpenBao(tmp_path_factory.mktemp("live"), free_port(), dev=True) as live,
        OpenBao(tmp_path_factory.mktemp("other"), free_port(), dev=True) as other,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("KEYTURN_TEST_LIVE", live.root_token)
        patch.setenv("KEYTURN_TEST_OTHER", other.root_token)
        yield Servers(live, other)


@dataclass(frozen=True)
class Setting:
    """One hub's mounts of a test's own, the same names in the other hub, a place, and what opens what is there."""

    hub: VaultHub
    restored: VaultHub
    place: BackupDirectory
    keys: RecipientKeys
    calls: Calls

    def maker(self, versions: int = 2) -> BackupMaker:
        """What makes backups."""
        subject = BackupSubject(self.hub.content(), self.hub.fingerprint_keys, versions=versions)
        return BackupMaker(subject, self.place, self.keys)

    def write(self, path: str, *values: str) -> None:
        """So many more versions."""
        info = self.hub.describe(path)
        at = info.version if info else 0
        for number, value in enumerate(values, at):
            self.hub.write(path, SecretFields({"password": value}), cas=number)

    def newest(self) -> OpenedChain:
        """The newest chain that holds."""
        return newest_chain(self.place, self.keys, UNSIGNED)[0]


def hub_at(server: OpenBao, variable: str, name: str) -> VaultHub:
    """A hub whose mounts are all of this name's."""
    return VaultHub(
        HubSettings(
            server.address,
            mount=f"{name}/secret",
            state_mount=f"{name}/keyturn",
            transit_mount=f"{name}/transit",
            login=TokenLogin(variable),
        )
    )


@contextmanager
def open_setting(servers: Servers, directory: Path) -> Iterator[Setting]:
    """Mounts of a new name in both hubs, a place in this directory, and a key."""
    name = fresh()
    hub, restored = hub_at(servers.live, "KEYTURN_TEST_LIVE", name), hub_at(servers.other, "KEYTURN_TEST_OTHER", name)
    for area in hub.content().areas:
        hub.content().make_mount(area)
    keys = RecipientKeys({"x25519:recovery": RecoveryDataKeys(make_recovery_key(directory / "recovery.pem"))})
    calls = Calls(hub.settings)
    yield Setting(hub, restored, BackupDirectory(directory / "backups"), keys, calls)
    for made in (hub, restored, calls):
        made.close()


@pytest.fixture
def setting(servers: Servers, tmp_path: Path) -> Iterator[Setting]:
    """One of each test's own."""
    with open_setting(servers, tmp_path) as made:
        yield made


def make_recovery_key(file: Path) -> Path:
    """A new one, as the guide has it."""
    subprocess.run(["openssl", "genpkey", "-algorithm", "x25519", "-out", str(file)], check=True)
    file.chmod(0o600)
    return file


Damage = Callable[[Path], None]
"""Does something to the directory of one chain."""
