"""Walking through the steps by hand."""

from dataclasses import dataclass, replace
from typing import Any

from keyturn.core.rotation_record import Record
from keyturn.core.schedule.due import Trigger
from keyturn.rotation import steps
from keyturn.rotation.attempt import Attempt
from keyturn.rotation.decide import decide
from keyturn.rotation.state.context import Workspace
from tests.support.hooks import Hooked
from tests.support.lab import Declared, Lab, load_whole


@dataclass
class Worker:
    """One run on one secret, which stops between two steps for as long as the test likes."""

    workspace: Workspace
    path: str

    def staged(self) -> Attempt:
        """Decide, by force, and stage."""
        return steps.stage(self.workspace, self.path, decide(self.workspace, self.path, Trigger.FORCE))

    def installed(self) -> Attempt:
        """And install."""
        attempt = self.staged()
        steps.install(self.workspace, attempt)
        return attempt

    def verified(self) -> Attempt:
        """And verify."""
        attempt = self.installed()
        steps.verify(self.workspace, attempt)
        return attempt

    def promoted(self) -> Attempt:
        """And promote."""
        return steps.promote(self.workspace, self.verified())

    def record(self) -> Record:
        """What the hub keeps of the rotation."""
        return load_whole(self.workspace, self.path)

    def hooking(self, what: str, **hooks: Any) -> "Worker":
        """The same worker with hooks on its ``hub`` or its ``strategy``."""
        workspace = self.workspace
        if what == "hub":
            return replace(self, workspace=replace(workspace, hub=Hooked(workspace.hub, **hooks)))
        hooked: Any = Hooked(workspace.open_strategy(self.path), **hooks)
        return replace(self, workspace=replace(workspace, open_strategy=lambda path: hooked))


def worker(lab: Lab, secret: Declared, holder: str | None = None, **settings: Any) -> Worker:
    """A run of its own, in this process or as another ``holder``."""
    return Worker(lab.open(secret, holder=holder, **settings).workspace, secret.path)


def with_copy(secret: Declared, **more: Any) -> Declared:
    """The same secret with one destination in the store ``memory``."""
    return secret.having(destinations=({"store": "memory", "name": remote(secret), **more},))


def remote(secret: Declared) -> str:
    """The name of its copy."""
    return secret.path.replace("/", "-")
