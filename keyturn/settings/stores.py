"""The settings that all kinds of store share: the system, its limits, and what may be deleted there."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Self

from pydantic import Field, WithJsonSchema

from keyturn.core.ports.stores import Detail, Details
from keyturn.core.rights.rights import CopyRights, Document
from keyturn.core.sensitive import Sensitive
from keyturn.core.store_limits import Limits
from keyturn.settings.fields import Duration, Line, Model, matching

Accounts = Mapping[tuple[str | int, ...], str]
"""Accounts, projects and the like, by their place in the settings: keys, and positions in lists."""

System = tuple[str, ...]
"""The identity of a remote system: two entries with the same one are the same system."""


PLACE: Final = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"

PlaceName = Annotated[
    str,
    matching(PLACE, "is no name of a place", "Use small letters, digits and hyphens between them."),
    WithJsonSchema({"type": "string", "pattern": f"^{PLACE}$"}),
]


class Deletion(StrEnum):
    """What becomes of a copy whose secret, or whose destination, is gone."""

    KEEP = "keep"
    DELETE = "delete"


class Opened(Model):
    """Settings that an adapter is opened with; each kind has its own ``kind``."""

    if TYPE_CHECKING:
        kind: str

    OWN: ClassVar[frozenset[str]]
    """The settings that are not passed to the adapter."""
    ADAPTER: ClassVar[str]
    """What opens it, as MODULE:NAME; imported with the first one of its kind."""
    EXTRA: ClassVar[str] = ""
    """The extra of the package with its SDK; empty where it needs none."""

    @property
    def accounts(self) -> Accounts:
        """The accounts, projects or repositories in its settings, by their place there."""
        return {}


class OpenedWithRights(Opened):
    """The same for what may need rights in a cloud."""

    def rights(self, file: str, origin: str) -> Iterator[Document]:
        """Yield the documents that allow a login to use it, and nothing else; none where its login is no cloud's.

        ``file`` is the prefix of their names, ``origin`` is their source.
        """
        return iter(())


class StoreBase(Opened):
    """A system that secrets are pushed to."""

    deletion: Deletion = Deletion.KEEP
    """What becomes of Keyturn's own copies that are no longer declared: keep, or delete."""
    delete_after: Duration = timedelta(days=7)
    """How long such a copy stays before it is deleted."""
    most_deletions: Annotated[int, Field(ge=1)] = 10
    """How many copies one run may delete."""
    writes_per_second: Annotated[float, Field(gt=0)] | None = None
    """How many writes a second the account allows, where that is not what the service publishes."""
    tags: dict[Line, Line] = Field(default_factory=dict)
    """Tags or labels that every copy there gets; a destination's own of the same name wins."""

    OWN = frozenset({"kind", "deletion", "delete_after", "most_deletions", "writes_per_second", "tags"})

    ADAPTER: ClassVar[str]
    """The :class:`keyturn.core.ports.stores.Store`, as MODULE:CLASS; imported when the first such store is opened.

    It is opened with the store's name, and all settings but those in OWN.
    """
    ASKS: ClassVar[str] = ""
    """What checks the rights of the login in use, as MODULE:FUNCTION; empty where nothing can.

    It is called with the store's name, the use of copies there, whether the login is for emergencies too, and the
    adapter's settings. It changes nothing, and returns a ``Verdict`` for each call.
    """
    LIMITS: ClassVar[Limits]
    """The names and sizes that every store of this kind allows."""
    TAKES: ClassVar[frozenset[Detail]] = frozenset()
    """The details that it can keep with a copy."""
    READABLE: ClassVar[bool] = True
    """Whether it returns values: without them, no fields can be added there."""
    MERGES: ClassVar[bool] = False
    """Whether single keys can be written into others' secrets there: the adapter has ``shared`` then."""
    QUOTA: ClassVar[float | None] = None
    """How many copies per second the service's published quotas allow to write; None where there are none."""

    @property
    def system(self) -> System:
        """The identity of this system among all others."""
        raise NotImplementedError

    @property
    def places(self) -> tuple[str, ...]:
        """The places of copies: regions, locations; empty where nothing shows them."""
        return ()

    @property
    def place_remedy(self) -> str:
        """What to write so that the catalogue knows where copies are."""
        return "Give place on the store: its location, in the words of the rule."

    def members(self, name: str) -> Mapping[str, Self]:
        """Return the stores of the entry with this name: itself, or several, named ``name/...`` each."""
        return {name: self}

    @property
    def limits(self) -> Limits:
        return self.LIMITS

    @property
    def readable(self) -> bool:
        return self.READABLE

    def rights(self, copies: CopyRights) -> Iterator[Document]:
        """Yield the documents that allow a login to do this with copies, and nothing else; none where none do."""
        return iter(())

    def refuses_value(self, value: Sensitive) -> str | None:
        """Return why a value can't be written there, in words that show nothing of it; None where it can."""
        return None

    def refuses_details(self, details: Details) -> str | None:
        """Return which of these can't be kept with a copy there, or why; None where all can.

        A store with its own limits calls this first.
        """
        if lacking := details.asked - self.TAKES:
            return f"{self.kind} keeps no {' and no '.join(sorted(lacking))} next to a secret"
        return None


class Placed(StoreBase):
    """A store whose settings alone do not show where copies are."""

    OWN = StoreBase.OWN | {"place"}

    place: PlaceName | None = None
    """Its location, for the rules of the catalogue: a region, a site, such as westeurope or plant-7."""

    @property
    def places(self) -> tuple[str, ...]:
        return (self.place,) if self.place else ()
