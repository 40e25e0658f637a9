"""Further KV mounts of the hub, by the names that prefix the paths of their secrets."""

from keyturn.settings.fields import EngineMount, Model


class MountSettings(Model):
    """A further KV v2 mount of the hub; its secrets are called NAME:PATH."""

    mount: EngineMount
    """Its path in the hub, in the same namespace as the default mount."""
