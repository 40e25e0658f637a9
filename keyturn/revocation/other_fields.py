"""What stands beside a secret's credential, an address or a port: it stays, whatever becomes of the credential."""

from collections.abc import Sequence

from keyturn.core.hub import HubSecret
from keyturn.core.sensitive import SecretFields
from keyturn.rotation.context import Workspace
from keyturn.strategies.manual import ManualSettings


def fields_beside(workspace: Workspace, path: str, versions: Sequence[HubSecret]) -> SecretFields | None:
    """The fields of the newest of ``versions``, which comes first, that are no part of the credential; None for none.

    Nothing is kept of what a person replaces, since nobody knows which of its fields are secret.
    """
    if not versions or isinstance(workspace.secret(path).rotation, ManualSettings):
        return None
    made = {*workspace.open_strategy(path).credential_fields, "rotated_at"}
    return SecretFields({name: value for name, value in versions[0].fields.reveal().items() if name not in made})
