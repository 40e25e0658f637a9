"""Finds the last entry about a secret's version without reading all entries."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from keyturn.core.errors import Invalid
from keyturn.core.ports.ledger import VERSIONED, NewestVersion

INDEX: Final = "newest_versions"
CUT_INDEX: Final = "newest_cuts"
"""The indexes, derived from the entries and rebuildable."""

SECRET_KEY: Final = ',"secret":"'
"""The text before a secret's path in a tail, and in no text, where quotes are escaped."""

DONE: Final = tuple(f'"action":"{action}","outcome":"done"' for action in VERSIONED)
"""The text in the tails that count."""


CUT: Final = '"action":"cut","outcome":"begun"'
"""The text in the tail of a begun cut, which counts even if unfinished."""

OF_VERSION: Final = ',"note":"version '
"""The text in the tail of a cut of only an old version, without an incident."""


def newest_by_secret(
    versions: Iterable[tuple[int, bytes]], cuts: Iterable[tuple[int, bytes]]
) -> Mapping[str, NewestVersion]:
    """The newest version of each secret in these tails, unverified. Raises Invalid for a malformed tail."""
    newest: dict[str, NewestVersion] = {}
    numbers: dict[str, int] = {}
    for number, entry in ((number, _entry(tail)) for number, tail in versions):
        if entry.get("secret") and entry.get("version"):
            newest[entry["secret"]] = NewestVersion(entry["action"], entry["version"], entry.get("fingerprint", ""))
            numbers[entry["secret"]] = number
    for number, cut in ((number, _entry(tail)) for number, tail in cuts):
        path, last, incident = cut.get("secret", ""), cut.get("version", 0), incident_of(cut.get("note", ""))
        version = newest.get(path) or NewestVersion(cut["action"], 0, "")
        # A cut repeated after the replacement is about the replaced version.
        if path and incident and number > numbers.get(path, 0) and (not last or last >= version.version):
            newest[path] = replace(version, revoked_by=incident, revoked_up_to=last)
    return newest


def incident_of(note: str) -> str:
    """The incident's id in a cut's note."""
    return note.partition(";")[0].strip()


def _entry(tail: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(b"{" + tail))
    except (ValueError, TypeError):
        hint = "Verify it: keyturn ledger verify"
        raise Invalid("read", "the ledger", "an entry of it is not spelled as Keyturn writes it", hint) from None
