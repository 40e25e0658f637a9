"""The catalogue that a hub is set up for: another one's setup would remove rights that the first one needs."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from keyturn.catalogue.models import DEFAULT_ID, Catalogue

MOST: Final = 200
"""The number of secrets in a claim: enough to distinguish another catalogue from an edited one."""


@dataclass(frozen=True)
class Claim:
    """A catalogue in a hub's record: its id, and some of its secrets."""

    catalogue: str = DEFAULT_ID
    secrets: tuple[str, ...] = ()

    @staticmethod
    def of(catalogue: Catalogue) -> "Claim":
        return Claim(catalogue.id, some_of(catalogue.secrets))

    def to_data(self) -> dict[str, Any]:
        return {"catalogue": self.catalogue, "secrets": list(self.secrets)}

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> "Claim":
        """Read a claim back. Raises KeyError, TypeError."""
        return Claim(str(data["catalogue"]), tuple(map(str, data["secrets"])))


def some_of(paths: Iterable[str]) -> tuple[str, ...]:
    """Return at most MOST of the paths, the same ones each time, from all folders."""
    return tuple(sorted(sorted(paths, key=lambda path: hashlib.sha256(path.encode()).digest())[:MOST]))


def other_catalogue(claim: Claim | None, own: str, secrets: Collection[str]) -> str:
    """Return why a hub with this claim is set up for another catalogue than ``own``; empty where it is not.

    A catalogue that gets its first id keeps its secrets, and so its hub.
    """
    if claim is None:
        return ""
    unlike = bool(claim.secrets and secrets) and not set(claim.secrets) & set(secrets)
    if claim.catalogue not in (own, DEFAULT_ID):
        return f"it is set up for the catalogue {claim.catalogue}, and this one is {own}"
    if unlike:
        first, count = claim.secrets[0], len(claim.secrets)
        named = f"{first} and {count - 1} more" if count > 1 else first
        return f"it is set up for another catalogue called {claim.catalogue}, whose secrets this one lacks: {named}"
    return ""
