"""The settings that all kinds of managed key share."""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator

from keyturn.core.rights.rights import Document, HubPlaces, Section
from keyturn.settings.fields import Duration, Line, Model, refused
from keyturn.settings.stores import Accounts

SHORTEST: Final = timedelta(hours=1)
"""The interval of the flow."""


def _long_enough(duration: timedelta) -> timedelta:
    if duration < SHORTEST:
        raise refused("is shorter than an hour", "Write 1h or more: keys are looked at once an hour.")
    return duration


Interval = Annotated[Duration, AfterValidator(_long_enough)]


class KeyBase(Model):
    """A key in another engine, where it is managed.

    Each kind of engine has its own ``kind``, and names what opens its keys in :attr:`ADAPTER`.
    """

    if TYPE_CHECKING:
        kind: str

    interval: Interval | None = None
    """How old a generation may become before the key is rotated; without it, only on request."""
    hsm: Literal["required"] | None = None
    """Say required where a key that is not kept in an HSM is an error."""
    owner: Line | None = None
    """Who answers for it, as an address that reaches them."""

    OWN: ClassVar[frozenset[str]] = frozenset({"kind", "interval", "hsm", "owner"})
    """The settings that are not passed to the adapter."""
    ADAPTER: ClassVar[str]
    """What opens the :class:`keyturn.core.ports.managed_keys.ManagedKey`, as MODULE:NAME; imported with the first one.

    It is called with a :class:`keyturn.core.ports.hub.KeyOpening`, and all settings but those in OWN.
    """
    EXTRA: ClassVar[str] = ""
    """The extra of the package with its SDK; empty where it needs none."""

    @property
    def place(self) -> str:
        """The place in a few words: the engine, and the key's name there."""
        raise NotImplementedError

    @property
    def accounts(self) -> Accounts:
        """The accounts in its settings, by their place there."""
        return {}

    def hub_rights(self, places: HubPlaces) -> Iterator[Section]:
        """Yield the further rights that a worker needs in the hub to manage it."""
        return iter(())

    def rights(self, file: str, origin: str) -> Iterator[Document]:
        """Yield the documents that allow a login to manage it, and nothing else; none where its login is no cloud's.

        ``file`` is the prefix of their names, ``origin`` is their source.
        """
        return iter(())
