"""What the settings of every consumer have, whichever way it is told."""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from keyturn.core.rights.rights import Document
from keyturn.settings.fields import HubPath, Model, PositiveDuration
from keyturn.settings.stores import Accounts


class ConsumerBase(Model):
    """An application that is told when a secret of its own changes.

    Each way of being told has a ``kind`` of its own, and says in :attr:`ADAPTER` what carries its notices.
    """

    if TYPE_CHECKING:
        kind: str

    signing_key: HubPath
    """The path in the hub's state mount whose field `key` signs the messages."""
    timeout: PositiveDuration = timedelta(seconds=5)
    """How long to wait for its answer."""

    OWN: ClassVar[frozenset[str]] = frozenset({"kind", "signing_key", "timeout", "login"})
    """What the adapter is not opened with. The fields of the entry at ``login`` it is given instead, where there is
    such a setting."""
    ADAPTER: ClassVar[str]
    """The :class:`keyturn.core.ports.consumers.NoticeSender`, as MODULE:CLASS; imported when it is first opened.

    It is opened with the consumer's name, and all settings but those in OWN.
    """
    HEALTH: ClassVar[bool] = False
    """Whether it can be asked how it is: :class:`keyturn.core.ports.consumers.ChecksHealth`."""
    EXTRA: ClassVar[str] = ""
    """The extra of the package that brings its SDK; empty where it needs none."""

    @property
    def answers(self) -> bool:
        """Whether the application itself says that it has taken a notice; else it is known that it was handed over."""
        return False

    @property
    def accounts(self) -> Accounts:
        """The accounts or projects that it names, by where its settings do."""
        return {}

    def rights(self, file: str, origin: str) -> Iterator[Document]:
        """The documents that let a login tell it, and nothing else; none where its login is no cloud's.

        ``file`` is what their names begin with, ``origin`` says of what they are made.
        """
        return iter(())
