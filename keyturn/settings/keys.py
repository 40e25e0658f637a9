"""The settings that all kinds of managed key share."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator

from keyturn.core.rights.rights import HubPlaces, Section
from keyturn.settings.fields import Duration, Line, refused
from keyturn.settings.stores import OpenedWithRights

SHORTEST: Final = timedelta(hours=1)
"""The interval of the flow."""


def _long_enough(duration: timedelta) -> timedelta:
    if duration < SHORTEST:
        raise refused("is shorter than an hour", "Write 1h or more: keys are looked at once an hour.")
    return duration


Interval = Annotated[Duration, AfterValidator(_long_enough)]


class KeyBase(OpenedWithRights):
    """A key in another engine, where it is managed."""

    interval: Interval | None = None
    """How old a generation may become before the key is rotated; without it, only on request."""
    hsm: Literal["required"] | None = None
    """Say required where a key that is not kept in an HSM is an error."""
    owner: Line | None = None
    """Who answers for it, as an address that reaches them."""

    OWN = frozenset({"kind", "interval", "hsm", "owner"})
    ADAPTER: ClassVar[str]
    """What opens the :class:`keyturn.core.ports.managed_keys.ManagedKey`, as MODULE:NAME; imported with the first one.

    It is called with a :class:`keyturn.core.ports.hub.KeyOpening`, and all settings but those in OWN.
    """

    @property
    def place(self) -> str:
        """The place in a few words: the engine, and the key's name there."""
        raise NotImplementedError

    def hub_rights(self, places: HubPlaces) -> Iterator[Section]:
        """Yield the further rights that a worker needs in the hub to manage it."""
        return iter(())
