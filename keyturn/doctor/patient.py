"""The login under examination, and its role."""

from dataclasses import dataclass

from keyturn.rights.scope import HubScope
from keyturn.rotation.state.context import Workspace


@dataclass(frozen=True)
class Patient:
    """The workspace's login, which is to do the work of ``role``: worker, revoker, notary or the like.

    ``scope`` is the part of the hub that the catalogue uses.
    """

    workspace: Workspace
    scope: HubScope
    role: str = "worker"
