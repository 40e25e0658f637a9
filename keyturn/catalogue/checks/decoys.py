"""Checks that a decoy stays hidden and opens nothing. Values of a wrong type are skipped."""

import json
import re
from collections.abc import Iterator
from typing import Final

from keyturn.catalogue.checks.plain_data import at, text_at
from keyturn.catalogue.files.parse import CatalogueEntry
from keyturn.catalogue.files.problems import Problem

HARMLESS: Final = ("generated", "signing-key", "manual")
"""Strategies whose values open nothing."""

TELLTALE: Final = re.compile(
    r"(?<![a-z])(decoys?|honey(?:pot|token)?s?|canary|canaries|baits?|traps?|tripwires?|fakes?|dummy|dummies)(?![a-z])",
    re.IGNORECASE,
)


def is_decoy(entry: CatalogueEntry) -> bool:
    return at(entry.data, ("decoy",)) is True


def told_to_nobody(entry: CatalogueEntry, _: object) -> Iterator[Problem]:
    """A decoy has no consumers: each of their reads would be an alarm."""
    for key in ("consumers", "rollout"):
        if is_decoy(entry) and at(entry.data, (key,)):
            yield entry.problem((key,), "a decoy has no consumers", "Leave it out: each read of a decoy is an alarm.")


def opening_nothing(entry: CatalogueEntry, _: object) -> Iterator[Problem]:
    strategy = text_at(entry, "rotation", "strategy")
    if is_decoy(entry) and strategy and strategy not in HARMLESS:
        message = f"a decoy of the strategy {strategy} would open something"
        yield entry.problem(("rotation", "strategy"), message, f"Use one of {', '.join(HARMLESS)}.")


def telling_nothing(entry: CatalogueEntry, _: object) -> Iterator[Problem]:
    if not is_decoy(entry):
        return
    texts = {(): entry.name, ("destinations",): json.dumps(at(entry.data, ("destinations",)), default=str)}
    for key, text in texts.items():
        if word := TELLTALE.search(text):
            remedy = "Call it what an intruder hopes to find, such as legacy/billing-admin."
            yield entry.problem(key, f"the word {word[0]} gives it away as a decoy", remedy)


CHECKS: Final = (told_to_nobody, opening_nothing, telling_nothing)
