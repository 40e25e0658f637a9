"""A catalogue with listening consumers over the real hub, for values that people write."""

import dataclasses
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from keyturn.catalogue import Catalogue
from keyturn.core.notifications.notice_state import Heard
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.notice_store import load_heard
from keyturn.sync.apply import Applier
from keyturn.sync.notices import Notices, tell_written
from keyturn.sync.pending_notices import Owing, owing
from keyturn.sync.plan import plan
from keyturn.sync.run import carry_out, local_executor
from keyturn.wiring.registry import open_workspace
from tests.support.consumer import Consumer
from tests.support.lab import Lab, fresh
from tests.support.memory_store import MemoryStore

STORE = {"kind": "aws-secrets-manager", "region": "eu-central-1"}
MANUAL = {"strategy": "manual"}


@dataclass
class Audience:
    """Secrets that are pushed to one store and told to consumers; ``secrets`` may be changed between two runs.

    What was told is kept apart from other tests' by the catalogue's id. Whoever does not answer within ``timeout`` is
    told again.
    """

    lab: Lab
    consumers: dict[str, Consumer]
    id: str = field(default_factory=fresh)
    store: MemoryStore = field(default_factory=lambda: MemoryStore("memory"))
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    timeout: str = "1s"

    def declare(self, *consumers: str, rotation: dict[str, Any] | None = None, **more: Any) -> str:
        """A new secret, which has no version yet; its path."""
        path = f"tests/{fresh()}"
        copy = {"store": "memory", "name": path.replace("/", "-")}
        declared = {"owner": "me@example.com", "classification": "internal", "rotation": rotation or MANUAL}
        self.secrets[path] = {
            "destinations": [copy],
            "consumers": consumers or tuple(self.consumers),
            **declared,
            **more,
        }
        return path

    @property
    def data(self) -> dict[str, Any]:
        """The catalogue."""
        consumers = {
            name: {"url": one.url, "signing_key": one.signing_key, "timeout": self.timeout}
            for name, one in self.consumers.items()
        }
        secrets_of = {path: {**one, "path": path} for path, one in self.secrets.items()}
        return {"id": self.id, "stores": {"memory": STORE}, "consumers": consumers, "secrets": secrets_of}

    def open(self, **changes: Any) -> Workspace:
        """One opened anew, as a new process would."""
        made = open_workspace(Catalogue.model_validate(self.data), self.lab.hub)
        return dataclasses.replace(made, open_store=lambda _: self.store, **changes)

    def write(self, path: str, **fields: Any) -> int:
        """Somebody gives the hub a newer version; its number."""
        info = self.lab.hub.describe(path)
        return self.lab.hub.write(path, SecretFields(fields or {"x": fresh()}), cas=info.version if info else 0)

    def owing(self, *patterns: str, workspace: Workspace | None = None) -> Owing:
        """Copies in sync, and whom that leaves to be told."""
        opened = workspace or self.open()
        planned = plan(opened, patterns, unseen=True)
        return owing(opened, planned, carry_out(opened, planned, local_executor(Applier(opened))))

    def sync(self, *patterns: str, workspace: Workspace | None = None) -> Notices:
        """What a scheduled sync does; without patterns, of everything."""
        opened = workspace or self.open()
        owed = self.owing(*patterns, workspace=opened)
        assert not owed.errors
        return tell_written(opened, owed.paths)

    def told(self, path: str, consumer: str = "app") -> list[int]:
        """The versions that a consumer was told of; a message that came twice stands there once."""
        return self.consumers[consumer].versions(path)

    def heard(self, path: str) -> Heard:
        """What the hub keeps of it."""
        found = load_heard(self.open(), [path])[path]
        assert isinstance(found, Heard)
        return found


@contextmanager
def audience(lab: Lab, *names: str) -> Iterator[Audience]:
    """These consumers listen, each with a key of its own."""
    with ExitStack() as stack:
        consumers = {}
        for name in names:
            key, place = f"whsec_{secrets.token_hex(24)}", f"webhooks/{name}/{fresh()}"
            lab.hub.write_state(place, {"key": key}, cas=0)
            consumers[name] = stack.enter_context(Consumer(Sensitive(key), place))
        yield Audience(lab, consumers)
