"""The fingerprint keys that prove copies, from the hub or from a saved file."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from keyturn.core.errors import Conflict, Invalid
from keyturn.core.fingerprint_keys import (
    FIRST_KEY,
    KEYS,
    FingerprintKeys,
    generations,
    key_entry,
    keys_of,
    read_key,
)
from keyturn.core.ports.hub import StatePort

LARGEST_FILE: Final = 1_000_000
"""Maximum bytes of a key file; 250 generations take 40,000."""

UNDATED: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""A placeholder for the unknown creation time. Proofs need only the generation number."""

Entries = Mapping[str, Mapping[str, Any]]
"""The hub's entries of these keys, by path in its state mount."""


def hub_keys(hub: StatePort) -> FingerprintKeys | None:
    """The hub's keys; None where it has none. It creates none."""
    return hub.fingerprint_keys() if hub.read_state(FIRST_KEY) else None


def keys_in_file(file: Path) -> Entries:
    """The keys in a file: `fingerprint-key` as `bao kv get -format=json` prints it, or all entries by path.

    Raises Invalid for an unreadable file or one without a key.
    """
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise Invalid("read", str(file), "it is too large to be a file of keys")
        held = json.loads(file.read_text())
    except (OSError, ValueError):
        problem = "it can't be read, or is no JSON"
        raise Invalid("read", str(file), problem, f"Give what `bao kv get -format=json {FIRST_KEY}` printed") from None
    entries = entries_in_file(held)
    if FIRST_KEY not in entries or read_key(1, entries[FIRST_KEY], UNDATED) is None:
        problem = f"it holds no {FIRST_KEY}"
        hint = f"Give what `bao kv get -format=json -mount=keyturn {FIRST_KEY}` printed, or such entries by their paths"
        raise Invalid("read", str(file), problem, hint)
    return entries


def entries_in_file(held: Any) -> dict[str, dict[str, Any]]:
    """The entries in a file of either format."""
    if not isinstance(held, dict):
        return {}
    printed = held.get("data")
    if isinstance(printed, dict) and isinstance(printed.get("data"), dict):
        return {FIRST_KEY: printed["data"]}
    wanted = {path: data for path, data in held.items() if path == FIRST_KEY or path.startswith(f"{KEYS}/")}
    return {path: data for path, data in wanted.items() if isinstance(data, dict)}


def keys_from(entries: Entries) -> FingerprintKeys:
    """The keys in these entries, with their use and retirement."""
    names = frozenset(path.removeprefix(f"{KEYS}/") for path in entries)
    numbered = ((number, entries.get(key_entry(number), {})) for number in generations(names))
    keys = tuple(key for number, data in numbered if (key := read_key(number, data, UNDATED)))
    return keys_of(keys, names, {})


def put_keys_back(hub: StatePort, entries: Entries) -> bool:
    """Write these keys to a hub without keys, and return whether it has them now. Safe to repeat.

    The first key goes first, or another process could create one. False where the hub has another key.
    """
    for path in sorted(entries, key=lambda path: path != FIRST_KEY):
        # Read first: a login that may create but not change entries is denied a write to an existing one.
        there = hub.read_state(path)
        if there is None:
            try:
                hub.claim_state(path, entries[path])
            except Conflict:
                there = hub.read_state(path)
        if there is not None and there.data.get("key") != entries[path].get("key"):
            return False
    hub.fingerprint_keys(fresh=True)
    return True
