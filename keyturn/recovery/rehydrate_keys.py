"""The keys of the fingerprints that prove what copies hold: from the hub, or from a file that was kept of it."""

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
"""Bytes of a file of keys; one of 250 generations has 40,000."""

UNDATED: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""When a key of a file was made: nobody asks, since a proof goes by the number of the generation."""

Entries = Mapping[str, Mapping[str, Any]]
"""The hub's own entries of these keys, by their paths in its state mount."""


def hub_keys(hub: StatePort) -> FingerprintKeys | None:
    """The keys that the hub has; None where it has none yet, and none is made by asking."""
    return hub.fingerprint_keys() if hub.read_state(FIRST_KEY) else None


def keys_in_file(file: Path) -> Entries:
    """The keys in a file: `fingerprint-key` as `bao kv get -format=json` prints it, or all entries by their paths.

    Raises Invalid for a file that can't be read, or holds no key.
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
    """The entries in what a file holds, whichever of the two ways it is written."""
    if not isinstance(held, dict):
        return {}
    printed = held.get("data")
    if isinstance(printed, dict) and isinstance(printed.get("data"), dict):
        return {FIRST_KEY: printed["data"]}
    wanted = {path: data for path, data in held.items() if path == FIRST_KEY or path.startswith(f"{KEYS}/")}
    return {path: data for path, data in wanted.items() if isinstance(data, dict)}


def keys_from(entries: Entries) -> FingerprintKeys:
    """The keys that these entries are, used and retired as they say."""
    names = frozenset(path.removeprefix(f"{KEYS}/") for path in entries)
    numbered = ((number, entries.get(key_entry(number), {})) for number in generations(names))
    keys = tuple(key for number, data in numbered if (key := read_key(number, data, UNDATED)))
    return keys_of(keys, names, {})


def put_keys_back(hub: StatePort, entries: Entries) -> bool:
    """Give the hub these keys, where it has none; whether it has them now. Safe to repeat.

    The first comes first: whoever asks the hub for its keys meanwhile would make one. False where it has another one.
    """
    for path in sorted(entries, key=lambda path: path != FIRST_KEY):
        # Asked first: who may make an entry, and not change one, is denied writing what is there.
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
