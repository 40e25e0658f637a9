"""One secret with a copy, what has leaked of it, and whether anything of that can still be had."""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.revocation import run
from keyturn.revocation.incidents.incident import IncidentStatus, Mode
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from tests.revocation.site import Site
from tests.support.hooks import raising
from tests.support.lab import Declared, Lab
from tests.support.memory_store import MemoryStore

KINDS: Final = ("alternating", "single", "dynamic", "generated")


@dataclass
class Scene:
    """One secret with a copy, and every value of it that may leak."""

    site: Site
    leaked: list[dict[str, Any]]

    @staticmethod
    def of(lab: Lab, kind: str, *, rotated: int = 0, **changes: Any) -> "Scene":
        """A fresh one, rotated so many times; the credential before CURRENT waits for its end."""
        secret: Declared = getattr(lab, kind)(**changes)
        scene = Scene(Site.of(lab, secret), [])
        scene.note()
        for _ in range(rotated):
            rotate(scene.workspace, scene.path, Trigger.FORCE)
            scene.note()
        return scene

    @property
    def workspace(self) -> Workspace:
        return self.site.impatient()

    @property
    def path(self) -> str:
        return self.site.secret.path

    @property
    def lab(self) -> Lab:
        return self.site.lab

    @property
    def store(self) -> MemoryStore:
        return self.site.store

    def note(self) -> None:
        """Take what is in force as leaked."""
        self.leaked.append(self.lab.current(self.site.secret))

    def secret_of(self, fields: dict[str, Any]) -> str:
        return str(fields.get("password") or fields["value"])

    def revoke(self, mode: Mode = Mode.REPLACE, workspace: Workspace | None = None) -> IncidentStatus:
        opened = workspace or self.workspace
        self.site.begin(mode, opened)
        return run.finish(opened, self.site.incident)

    def write(self, **changes: Any) -> int:
        """What somebody does by hand in the hub, over what is CURRENT or, without that, over what was."""
        current = self.lab.hub.read(self.path)
        info = self.lab.hub.describe(self.path)
        fields = current.fields.reveal() if current else self.leaked[-1]
        return self.lab.hub.write(self.path, SecretFields({**fields, **changes}), cas=info.version if info else 0)

    def assert_over(self, stands: IncidentStatus | None = None) -> None:
        """It is closed and bears a look: nothing that leaked is taken, or given by the hub or the store."""
        stands = stands or run.finish(self.workspace, self.site.incident)
        assert (stands.left, stands.open) == ((), False)
        self.assert_clean()

    def assert_clean(self) -> None:
        assert not [one for one in self.leaked if "password" in one and self.lab.logs_in(one)]
        values = [self.secret_of(one) for one in self.leaked]
        assert [version for version, fields in self.in_hub() if self.secret_of(fields) in values] == []
        assert [text for text in self.in_store() if any(value in text for value in values)] == []

    def assert_works(self) -> None:
        """What is in force is let in, and what the store serves is that."""
        current = self.lab.current(self.site.secret)
        assert "password" not in current or self.lab.logs_in(current)
        assert self.secret_of(current) in self.store.read(self.path).reveal()

    def in_hub(self) -> list[tuple[int, dict[str, Any]]]:
        info = self.lab.hub.describe(self.path)
        numbers = [one.version for one in info.versions if one.readable] if info else []
        found = [(number, self.lab.hub.read(self.path, number)) for number in numbers]
        return [(number, one.fields.reveal()) for number, one in found if one]

    def in_store(self) -> list[str]:
        found = self.store.describe(self.path)
        served = [self.store.read(self.path)] if found else []
        return [one.reveal() for one in (*served, *self.store.old_versions(self.path).values())]


def begun(lab: Lab, kind: str, mode: Mode) -> Scene:
    """An incident in the hub for which nothing is done yet."""
    scene = Scene.of(lab, kind)
    stop: Any = raising(KeyboardInterrupt())
    dying = replace(scene.workspace, open_strategy=stop)
    with suppress(KeyboardInterrupt):
        scene.site.begin(mode, dying)
    return scene
