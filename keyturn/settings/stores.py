"""What the settings of every store have: which system it is, what it allows, and what may be deleted there."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Self

from pydantic import Field, WithJsonSchema

from keyturn.core.ports.stores import Detail, Details
from keyturn.core.rights.rights import CopyRights, Document
from keyturn.core.sensitive import Sensitive
from keyturn.core.text.names import Limits
from keyturn.settings.fields import Duration, Line, Model, matching

Accounts = Mapping[tuple[str | int, ...], str]
"""Accounts, projects and the like, by where settings name them: keys, and positions in lists."""

System = tuple[str, ...]
"""What tells one remote system from another: two entries with the same one are the same system."""


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


class StoreBase(Model):
    """A system that secrets are pushed to.

    A kind of store has a ``kind`` of its own, and says in :attr:`ADAPTER` what opens it.
    """

    if TYPE_CHECKING:
        kind: str

    deletion: Deletion = Deletion.KEEP
    """What becomes of Keyturn's own copies that nothing declares any more: keep, or delete."""
    delete_after: Duration = timedelta(days=7)
    """How long such a copy stays before it is deleted."""
    most_deletions: Annotated[int, Field(ge=1)] = 10
    """How many copies one run may delete."""
    writes_per_second: Annotated[float, Field(gt=0)] | None = None
    """How many writes a second the account allows, where that is not what the service publishes."""
    tags: dict[Line, Line] = Field(default_factory=dict)
    """Tags or labels that every copy there gets; a destination's own of the same name wins."""

    OWN: ClassVar[frozenset[str]] = frozenset(
        {"kind", "deletion", "delete_after", "most_deletions", "writes_per_second", "tags"}
    )
    """What the adapter is not opened with."""

    ADAPTER: ClassVar[str]
    """The :class:`keyturn.core.ports.stores.Store`, as MODULE:CLASS; imported when the first such store is opened.

    It is opened with the store's name, and all settings but those in OWN.
    """
    ASKS: ClassVar[str] = ""
    """What asks there which rights the login in use has, as MODULE:FUNCTION; empty where nobody can.

    It is called with the store's name, what is done with copies there, whether the login is for emergencies too, and
    what the adapter is opened with. It changes nothing, and gives a ``Verdict`` for each call.
    """
    EXTRA: ClassVar[str] = ""
    """The extra of the package that brings its SDK; empty where it needs none."""
    LIMITS: ClassVar[Limits]
    """Which names and sizes every store of this kind allows."""
    TAKES: ClassVar[frozenset[Detail]] = frozenset()
    """What it can show beside a copy."""
    READABLE: ClassVar[bool] = True
    """Whether it gives values back: without, no fields can be added there."""
    MERGES: ClassVar[bool] = False
    """Whether single keys can be laid into secrets that others own there: the adapter has ``shared`` then."""
    QUOTA: ClassVar[float | None] = None
    """How many copies a second the service's published quotas allow to write; None where there are none."""

    @property
    def system(self) -> System:
        """What tells this system from every other."""
        raise NotImplementedError

    @property
    def places(self) -> tuple[str, ...]:
        """Where copies lie: regions, locations; empty where nothing tells."""
        return ()

    @property
    def accounts(self) -> Accounts:
        """The accounts, projects or repositories that it names, by where its settings do."""
        return {}

    @property
    def place_remedy(self) -> str:
        """What to say so that the catalogue knows where copies lie."""
        return "Say place on the store: where it stands, in the words of the rule."

    def members(self, name: str) -> Mapping[str, Self]:
        """The stores that the entry of this name stands for: itself, or several, named ``name/...`` each."""
        return {name: self}

    @property
    def limits(self) -> Limits:
        """Which names and sizes it allows."""
        return self.LIMITS

    def rights(self, copies: CopyRights) -> Iterator[Document]:
        """The documents that let a login do what is done with these copies, and nothing else; none where none do."""
        return iter(())

    def refuses_value(self, value: Sensitive) -> str | None:
        """Why a value can't be written there for what is in it, in words that show nothing of it; None where it can."""
        return None

    def refuses_details(self, details: Details) -> str | None:
        """Why these can't stand beside a copy there: what it lacks, by name, or breaks; None where they can.

        A store with limits of its own asks this first.
        """
        if lacking := details.asked - self.TAKES:
            return f"{self.kind} keeps no {' and no '.join(sorted(lacking))} beside a secret"
        return None


class Placed(StoreBase):
    """A store whose settings don't tell by themselves where copies lie."""

    OWN = StoreBase.OWN | {"place"}

    place: PlaceName | None = None
    """Where it stands, for the rules of the catalogue: a region, a site, such as westeurope or plant-7."""

    @property
    def places(self) -> tuple[str, ...]:
        """What was said."""
        return (self.place,) if self.place else ()
