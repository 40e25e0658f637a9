"""New KV v2 mounts of a hub, which answer nothing but refusals for a moment after they are made."""

import hvac

from tests.support.hooks import eventually


def make_kv(client: hvac.Client, path: str) -> None:
    """A KV v2 mount at ``path`` that answers."""
    client.sys.enable_secrets_engine("kv", path=path, options={"version": "2"})
    assert eventually(lambda: answers(client, path))


def answers(client: hvac.Client, path: str) -> bool:
    """Whether it does: until then it is being upgraded to a mount with versions."""
    try:
        client.secrets.kv.v2.read_configuration(mount_point=path)
    except hvac.exceptions.InvalidRequest:
        return False
    return True
