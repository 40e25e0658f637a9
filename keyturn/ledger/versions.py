"""How a ledger finds the last entry that tells of a secret's version, without reading all of them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from keyturn.core.errors import Invalid
from keyturn.core.ports.ledger import VERSIONED, NewestVersion

INDEX: Final = "newest_versions"
CUT_INDEX: Final = "newest_cuts"
"""The names of the indexes. They are made of the entries, and may be dropped and made again at any time."""

SECRET_KEY: Final = ',"secret":"'
"""What stands before a secret's path in an entry's tail. No text of an entry holds it: quotes in texts are escaped."""

DONE: Final = tuple(f'"action":"{action}","outcome":"done"' for action in VERSIONED)
"""What stands in the tails that count."""


CUT: Final = '"action":"cut","outcome":"begun"'
"""What stands in the tail of a cut's opening entry: what was to be ended has leaked, however far that came."""

OF_VERSION: Final = ',"note":"version '
"""What stands in the tail of one that ends an old version alone, found late: it is of no incident."""


def newest_by_secret(
    versions: Iterable[tuple[int, bytes]], cuts: Iterable[tuple[int, bytes]]
) -> Mapping[str, NewestVersion]:
    """What these tails, each with its number, tell of their secrets. Raises Invalid for what is no entry's tail.

    They are not compared with the checkpoints, which would take reading all of them: `keyturn ledger verify` does it.
    """
    newest: dict[str, NewestVersion] = {}
    numbers: dict[str, int] = {}
    for number, entry in ((number, _entry(tail)) for number, tail in versions):
        if entry.get("secret") and entry.get("version"):
            newest[entry["secret"]] = NewestVersion(entry["action"], entry["version"], entry.get("fingerprint", ""))
            numbers[entry["secret"]] = number
    for number, cut in ((number, _entry(tail)) for number, tail in cuts):
        path, last, incident = cut.get("secret", ""), cut.get("version", 0), incident_of(cut.get("note", ""))
        version = newest.get(path) or NewestVersion(cut["action"], 0, "")
        # A cut that is made once more after its replacement is about what that has replaced.
        if path and incident and number > numbers.get(path, 0) and (not last or last >= version.version):
            newest[path] = replace(version, revoked_by=incident, revoked_up_to=last)
    return newest


def incident_of(note: str) -> str:
    """The incident's id in a cut's note, before whatever else that tells."""
    return note.partition(";")[0].strip()


def _entry(tail: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(b"{" + tail))
    except (ValueError, TypeError):
        hint = "Verify it: keyturn ledger verify"
        raise Invalid("read", "the ledger", "an entry of it is not spelled as Keyturn writes it", hint) from None
