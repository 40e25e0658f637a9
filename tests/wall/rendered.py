"""Two secrets with a copy each in one store, worked on with the rights that are rendered for them and no others."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from keyturn.catalogue import Catalogue
from keyturn.core.plan import Action
from keyturn.core.rights.rights import CopyRights
from keyturn.core.schedule.due import Trigger
from keyturn.revocation import run as incidents
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import Mode
from keyturn.revocation.selector import Selection
from keyturn.rights.copies import copies_in, store_documents
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.sync.plan import plan
from keyturn.wiring.registry import open_workspace
from tests.support.clock import Clock
from tests.support.lab import LOOSE, Lab, catalogue_data, fresh
from tests.support.sender import RecordingSender

ORIGIN = "Made by `keyturn setup store` for a test."


def opened(lab: Lab, catalogue: Catalogue, clock: Clock) -> Workspace:
    """What works with the login in use, by this clock, and tells nobody."""
    return replace(
        open_workspace(catalogue, lab.hub),
        clock=clock,
        hub_clock=clock,
        sender=RecordingSender(),
        sleep=lambda seconds: None,
        limits=LOOSE,
    )


def end_leaked(workspace: Workspace, paths: Sequence[str], mode: Mode) -> None:
    """An incident of these secrets, from its beginning to its end, with nothing left."""
    incident = f"INC-{fresh()}"
    incidents.begin(
        workspace,
        Selection(tuple(paths)),
        incident=incident,
        reason="leaked in a log",
        mode=mode,
        selector="**",
        triggered_at=workspace.clock(),
        consent=Consent(len(paths)),
    )
    status = incidents.finish(workspace, incident)
    assert (status.open, status.left) == (False, ())


class Rendered:
    """The secrets, their catalogue, and its documents for the one store ``memory``.

    ``remote`` is the name of a copy that Keyturn makes, ``foreign`` of one that somebody else has made before.
    """

    def __init__(self, lab: Lab, settings: Mapping[str, Any], foreign: Mapping[str, Any] | None = None) -> None:
        self.lab = lab
        own, adopted = (lab.generated(grace="0s") for _ in range(2))
        self.remote, self.foreign = (secret.path.replace("/", "-") for secret in (own, adopted))
        self.paths = (own.path, adopted.path)
        declared = (
            own.having(destinations=[{"store": "memory", "name": self.remote}]),
            adopted.having(destinations=[{"store": "memory", "name": self.foreign, "adopt": True, **(foreign or {})}]),
        )
        store = {**settings, "writes_per_second": 100_000}
        self.catalogue = Catalogue.model_validate(catalogue_data(lab.world, declared, store, {}))
        self.clock = Clock()

    @property
    def copies(self) -> CopyRights:
        """What is done with the copies."""
        return copies_in(self.catalogue, "memory", self.catalogue.stores["memory"], ORIGIN)

    @cached_property
    def documents(self) -> dict[str, str]:
        """The rendered ones, by name."""
        return {document.name: document.text for document in store_documents(self.catalogue, ORIGIN)}

    def opened_with(self) -> dict[str, Any]:
        """What the store's adapter is opened with, and what asks for rights."""
        settings = self.catalogue.stores["memory"]
        return {key: value for key, value in settings if key not in settings.OWN}

    def grant(self, revoking: bool) -> None:
        """Let whoever works here have the rendered rights and no others."""
        raise NotImplementedError

    def workspace(self) -> Workspace:
        """What works with that login."""
        return opened(self.lab, self.catalogue, self.clock)

    def work(self) -> None:
        """A worker's whole job: each secret is rotated three times, pushed, compared, and its old value retired."""
        self.grant(revoking=False)
        workspace = self.workspace()
        for _ in range(3):
            for path in self.paths:
                rotated = rotate(workspace, path, Trigger.FORCE)
                assert [copy for copy in rotated.destinations if not copy.in_step] == []
                retire(workspace, path)
        assert {item.action for item in plan(workspace, deep=True).items} == {Action.IN_SYNC}

    def revoke(self) -> None:
        """An incident of both, whose copies are replaced; then one of both, whose copies go."""
        self.grant(revoking=True)
        for mode in (Mode.REPLACE, Mode.REVOKE_ONLY):
            end_leaked(self.workspace(), self.paths, mode)
