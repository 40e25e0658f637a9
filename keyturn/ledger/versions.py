"""How a ledger finds the last entry that tells of a secret's version, without reading all of them."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from keyturn.core.errors import Invalid
from keyturn.core.ledger import VERSIONED, NewestVersion

INDEX: Final = "newest_versions"
"""The name of the index. It is made of the entries, and may be dropped and made again at any time."""

SECRET_KEY: Final = ',"secret":"'
"""What stands before a secret's path in an entry's tail. No text of an entry holds it: quotes in texts are escaped."""

DONE: Final = tuple(f'"action":"{action}","outcome":"done"' for action in VERSIONED)
"""What stands in the tails that count."""


def newest_by_secret(tails: Iterable[bytes]) -> Mapping[str, NewestVersion]:
    """What these tails tell of their secrets. Raises Invalid for what is no entry's tail.

    They are not compared with the checkpoints, which would take reading all of them: `keyturn ledger verify` does it.
    """
    entries = map(_entry, tails)
    return {
        entry["secret"]: NewestVersion(entry["action"], entry["version"], entry.get("fingerprint", ""))
        for entry in entries
        if entry.get("secret") and entry.get("version")
    }


def _entry(tail: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(b"{" + tail))
    except (ValueError, TypeError):
        hint = "Verify it: keyturn ledger verify"
        raise Invalid("read", "the ledger", "an entry of it is not spelled as Keyturn writes it", hint) from None
