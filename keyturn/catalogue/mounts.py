"""Further KV mounts of the hub, by the names that stand before the paths of their secrets."""

from keyturn.settings.fields import EngineMount, Model


class MountSettings(Model):
    """A KV v2 mount of the hub beside the default one; a secret in it is called NAME:PATH."""

    mount: EngineMount
    """Where it is mounted in the hub, in the same namespace as the default one."""
