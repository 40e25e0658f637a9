"""The settings that all kinds of consumer share."""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from keyturn.core.rights.rights import Document
from keyturn.settings.fields import HubPath, Model, PositiveDuration
from keyturn.settings.stores import Accounts


class ConsumerBase(Model):
    """An application that gets a notice when a secret of its own changes.

    Each kind of notice has its own ``kind``, and names what sends it in :attr:`ADAPTER`.
    """

    if TYPE_CHECKING:
        kind: str

    signing_key: HubPath
    """The path in the hub's state mount whose field `key` signs the messages."""
    timeout: PositiveDuration = timedelta(seconds=5)
    """How long to wait for its answer."""

    OWN: ClassVar[frozenset[str]] = frozenset({"kind", "signing_key", "timeout", "login"})
    """The settings that are not passed to the adapter.

    Instead of ``login`` it gets the fields of that entry, where there is such a setting.
    """
    ADAPTER: ClassVar[str]
    """The :class:`keyturn.core.ports.consumers.NoticeSender`, as MODULE:CLASS; imported when it is first opened.

    It is opened with the consumer's name, and all settings but those in OWN.
    """
    HEALTH: ClassVar[bool] = False
    """Whether it can report its health: :class:`keyturn.core.ports.consumers.ChecksHealth`."""
    EXTRA: ClassVar[str] = ""
    """The extra of the package with its SDK; empty where it needs none."""

    @property
    def answers(self) -> bool:
        """Whether the application itself confirms a notice; otherwise only the delivery is known."""
        return False

    @property
    def accounts(self) -> Accounts:
        """The accounts or projects in its settings, by their place there."""
        return {}

    def rights(self, file: str, origin: str) -> Iterator[Document]:
        """Yield the documents that allow a login to notify it, and nothing else; none where its login is no cloud's.

        ``file`` is the prefix of their names, ``origin`` is their source.
        """
        return iter(())
