"""Which catalogue a hub is set up for: another one's set-up would take rights away that the first one needs."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from keyturn.catalogue.models import DEFAULT_ID, Catalogue

MOST: Final = 200
"""Secrets that a claim names: enough to tell another catalogue from one that was edited."""


@dataclass(frozen=True)
class Claim:
    """A catalogue as a hub's record names it: its id, and some of its secrets."""

    catalogue: str = DEFAULT_ID
    secrets: tuple[str, ...] = ()

    @staticmethod
    def of(catalogue: Catalogue) -> "Claim":
        """The claim of a catalogue."""
        return Claim(catalogue.id, some_of(catalogue.secrets))

    def to_data(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return {"catalogue": self.catalogue, "secrets": list(self.secrets)}

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> "Claim":
        """The same read back. Raises KeyError, TypeError."""
        return Claim(str(data["catalogue"]), tuple(map(str, data["secrets"])))


def some_of(paths: Iterable[str]) -> tuple[str, ...]:
    """At most MOST of the paths, the same ones each time, from all folders."""
    return tuple(sorted(sorted(paths, key=lambda path: hashlib.sha256(path.encode()).digest())[:MOST]))


def other_catalogue(claim: Claim | None, own: str, secrets: Collection[str]) -> str:
    """Why a hub of this claim is set up for another catalogue than ``own``; empty where it is not.

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
