"""The settings that all kinds of consumer share."""

from datetime import timedelta
from typing import ClassVar

from keyturn.settings.fields import HubPath, PositiveDuration
from keyturn.settings.stores import OpenedWithRights


class ConsumerBase(OpenedWithRights):
    """An application that gets a notice when a secret of its own changes."""

    signing_key: HubPath
    """The path in the hub's state mount whose field `key` signs the messages."""
    timeout: PositiveDuration = timedelta(seconds=5)
    """How long to wait for its answer."""

    OWN = frozenset({"kind", "signing_key", "timeout", "login"})
    """The settings that are not passed to the adapter.

    Instead of ``login`` it gets the fields of that entry, where there is such a setting.
    """
    ADAPTER: ClassVar[str]
    """The :class:`keyturn.core.ports.consumers.NoticeSender`, as MODULE:CLASS; imported when it is first opened.

    It is opened with the consumer's name, and all settings but those in OWN.
    """
    HEALTH: ClassVar[bool] = False
    """Whether it can report its health: :class:`keyturn.core.ports.consumers.ChecksHealth`."""

    @property
    def answers(self) -> bool:
        """Whether the application itself confirms a notice; otherwise only the delivery is known."""
        return False
