"""An offline cache over a key file, on a machine whose clocks the test moves."""

from collections.abc import Callable
from pathlib import Path

from keyturn.client.client import SecretClient
from keyturn.client.machine import Machine
from keyturn.client.offline.cache_file import OfflineCache
from keyturn.client.policy import CachePolicy
from keyturn.core.ports.envelope import Envelope
from keyturn.providers.files.data_keys import FileDataKeys
from keyturn.providers.keys.aes_gcm import AesEnvelope, fresh_key
from tests.support.served import MemorySource

POLICY = CachePolicy(ttl=3600, jitter=0, resurrect_ttl=86_400, retry_after=5)


class Host:
    """A machine: ``pass_by`` lets time go past on all of its clocks, ``set_clock`` moves the one that a person sets.

    Another process is on the same host where it has the same directory.
    """

    def __init__(self, directory: Path, name: str = "this host") -> None:
        self.directory = directory
        self.key_file = directory / "key"
        self.name = name
        self.boot = "boot-1"
        self.wall, self.since_boot = 1_800_000_000.0, 500.0
        if not self.key_file.exists():
            directory.mkdir(exist_ok=True)
            add_generation(self.key_file)

    @property
    def cache(self) -> Path:
        """Where the offline file lies, and what is next to it."""
        return self.directory / "offline"

    @property
    def file(self) -> Path:
        return self.cache / "secrets"

    @property
    def notices(self) -> Path:
        return self.cache / "notices"

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.since_boot += seconds

    def set_clock(self, seconds: float) -> None:
        self.wall += seconds

    def restart(self, seconds: float = 30) -> None:
        """Boot again."""
        self.wall += seconds
        self.boot, self.since_boot = self.boot + "1", 1.0

    def machine(self) -> Machine:
        return Machine(self.name, self.boot, lambda: self.wall, lambda: self.since_boot)

    def offline(self, envelope: Callable[[], Envelope] | None = None, **settings: float) -> OfflineCache:
        opened = envelope or (lambda: AesEnvelope(FileDataKeys(self.key_file)))
        return OfflineCache(self.cache, opened, machine=self.machine(), delay=settings.pop("delay", 3600), **settings)  # type: ignore[arg-type]

    def client(self, source: MemorySource, offline: OfflineCache, **settings: object) -> SecretClient:
        """A process, as it begins; it lives by the clock that nobody sets."""
        arguments = {"policy": POLICY, "poll": 0, "patience": 0, **settings}
        return SecretClient([source], offline=offline, clock=lambda: self.since_boot, **arguments)  # type: ignore[arg-type]


def add_generation(key_file: Path) -> None:
    """What ``openssl rand -base64 32 >>`` does."""
    before = key_file.read_text() if key_file.exists() else ""
    key_file.touch(0o600)
    key_file.write_text(f"{before}{fresh_key().reveal()}\n")
