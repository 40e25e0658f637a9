"""Whose login is examined, and for which work."""

from dataclasses import dataclass

from keyturn.rights.scope import HubScope
from keyturn.rotation.state.context import Workspace


@dataclass(frozen=True)
class Patient:
    """The login in use of a workspace, which is to do the work of ``role``: worker, revoker, notary or the like.

    ``scope`` is what of the hub the catalogue has to do with.
    """

    workspace: Workspace
    scope: HubScope
    role: str = "worker"
