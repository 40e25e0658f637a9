"""One secret in an incident: opened, revoked, and looked at from outside."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from keyturn.core.errors import Unavailable, Unrecorded
from keyturn.core.ports.ledger import Entry, NewestVersion
from keyturn.core.rotation_record import Record
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.ledger.entries import parse_leaf
from keyturn.ledger.storage.spool import Spooled
from keyturn.providers.vault.hub import VaultHub
from keyturn.revocation import run
from keyturn.revocation.incidents import store as incident_store
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import Incident, IncidentStatus, Mode, SecretProgress
from keyturn.revocation.selector import Selection
from keyturn.rotation.copies.push import sync_destinations
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.settings.hub import HubSettings
from tests.rotation.helpers import Worker
from tests.support.lab import Declared, Lab, Opened, fresh, load_whole
from tests.support.memory_store import MemoryStore

CONSUMERS = {"app": {"url": "http://127.0.0.1:9/", "signing_key": "webhooks/app"}}


@dataclass
class Site:
    """A fresh secret with one copy and one consumer, and what has happened to it."""

    lab: Lab
    secret: Declared
    opened: Opened
    incident: str = field(default_factory=lambda: f"INC-{fresh()}")
    leaked_copy: str = ""
    others: tuple[Declared, ...] = ()

    @staticmethod
    def of(lab: Lab, secret: Declared, **given: Any) -> "Site":
        """The secret, opened, its copy in step."""
        declared = secret.having(destinations=[{"store": "memory", "name": secret.path}], consumers=["app"])
        opened = lab.open(declared, consumers=CONSUMERS, **given)
        sync_destinations(opened.workspace, secret.path)
        return Site(lab, declared, opened, leaked_copy=opened.store.read(secret.path).reveal())

    def declaring(self, destinations: list[dict[str, Any]]) -> "Site":
        """The same secret in a catalogue that pushes it elsewhere, with the same store; its note is public."""
        declared = self.secret.having(destinations=destinations, public_fields=["note"])
        opened = self.lab.open(declared, consumers=CONSUMERS, stores=lambda name: self.store)
        return Site(self.lab, declared, replace(opened, store=self.store))

    @property
    def workspace(self) -> Workspace:
        """What the engine works with."""
        return self.opened.workspace

    @property
    def store(self) -> MemoryStore:
        """The store of the copy."""
        return self.opened.store

    def impatient(self) -> Workspace:
        """The same, without pauses between tries."""
        return replace(self.workspace, sleep=lambda seconds: None)

    def at(self, later: timedelta) -> Workspace:
        """The same, when that much time has passed."""
        now = self.opened.clock() + later
        return replace(self.workspace, clock=lambda: now)

    def worker(self) -> Worker:
        """Another process's run on the secret, which stops where the test likes."""
        return Worker(replace(self.workspace, holder="another-host/1/1"), self.secret.path)

    def with_rights_of(self, policy: str) -> Workspace:
        """The same, logged in to the hub with one policy alone."""
        made = self.lab.root.auth.token.create(policies=[policy], ttl="1h")
        hub = VaultHub(HubSettings(self.lab.world.hub_address))
        hub._calls._session._client = hub._calls._session.as_token(made["auth"]["client_token"])
        return replace(self.workspace, hub=hub)

    def with_a_full_ledger(self, spool: Path) -> None:
        """Let the ledger refuse everything, and what is written wait in ``spool``."""

        class Full:
            def append(self, entries: Sequence[Entry]) -> None:
                raise Unrecorded("write", "the ledger", "the disk is full")

            def newest_versions(self, secrets: Collection[str]) -> Mapping[str, NewestVersion]:
                raise Unavailable("read", "the ledger", "the disk is full")

        full: Any = Full()
        self.opened.workspace = replace(self.workspace, ledger=Spooled(full, spool, lambda entries, why: None))

    def begin(self, mode: Mode = Mode.REPLACE, workspace: Workspace | None = None) -> Incident:
        """Open the incident and cut."""
        opened = workspace or self.workspace
        return run.begin(
            opened,
            Selection((self.secret.path,)),
            incident=self.incident,
            reason="leaked in a log",
            mode=mode,
            selector=self.secret.path,
            triggered_at=opened.clock(),
            consent=Consent(1),
        )

    def revoke(self, mode: Mode = Mode.REPLACE) -> IncidentStatus:
        """All of it, without pauses between tries."""
        self.begin(mode)
        return run.finish(self.impatient(), self.incident)

    def rotated(self) -> SecretFields:
        """Rotate once by force; the fields that were in force before."""
        before = SecretFields(self.lab.current(self.secret))
        rotate(self.workspace, self.secret.path, Trigger.FORCE)
        return before

    def progress(self) -> SecretProgress:
        """How far it is."""
        return incident_store.load_status(self.workspace, self.incident).secrets[0]

    def record(self) -> Record:
        """The secret's record."""
        return load_whole(self.workspace, self.secret.path)

    def entries(self) -> list[Entry]:
        """What the ledger records about the incident and its secret."""
        ledger: Any = self.workspace.ledger
        found = [parse_leaf(leaf).entry for _, leaf in ledger.leaves()]
        return [one for one in found if one.secret == self.secret.path or self.incident in one.note]
