"""What the settings of every managed key have, whichever engine it lies in."""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator

from keyturn.core.rights.rights import Document, HubPlaces, Section
from keyturn.settings.fields import Duration, Line, Model, refused
from keyturn.settings.stores import Accounts

SHORTEST: Final = timedelta(hours=1)
"""As often as the flow looks."""


def _long_enough(duration: timedelta) -> timedelta:
    if duration < SHORTEST:
        raise refused("is shorter than an hour", "Write 1h or more: keys are looked at once an hour.")
    return duration


Interval = Annotated[Duration, AfterValidator(_long_enough)]


class KeyBase(Model):
    """A key that lies in another engine and is managed there.

    Each kind of engine has a ``kind`` of its own, and says in :attr:`ADAPTER` what opens its keys.
    """

    if TYPE_CHECKING:
        kind: str

    interval: Interval | None = None
    """How old a generation may become before the key is rotated; without it, when somebody says so."""
    hsm: Literal["required"] | None = None
    """Say required where a key that is not kept in an HSM is an error."""
    owner: Line | None = None
    """Who answers for it, as an address that reaches them."""

    OWN: ClassVar[frozenset[str]] = frozenset({"kind", "interval", "hsm", "owner"})
    """What the adapter is not opened with."""
    ADAPTER: ClassVar[str]
    """What opens the :class:`keyturn.core.ports.managed_keys.ManagedKey`, as MODULE:NAME; imported with the first one.

    It is called with a :class:`keyturn.core.ports.hub.KeyOpening`, and all settings but those in OWN.
    """
    EXTRA: ClassVar[str] = ""
    """The extra of the package that brings its SDK; empty where it needs none."""

    @property
    def place(self) -> str:
        """Where it is, in a few words: the engine, and the key's name there."""
        raise NotImplementedError

    @property
    def accounts(self) -> Accounts:
        """The accounts that it names, by where its settings do."""
        return {}

    def hub_rights(self, places: HubPlaces) -> Iterator[Section]:
        """What a worker needs in the hub to manage it, beside what it needs anyway."""
        return iter(())

    def rights(self, file: str, origin: str) -> Iterator[Document]:
        """The documents that let a login manage it, and nothing else; none where its login is no cloud's.

        ``file`` is what their names begin with, ``origin`` says of what they are made.
        """
        return iter(())
