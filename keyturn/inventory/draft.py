"""Draft the files of a catalogue from the inventories. A draft changes nothing without a person."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from keyturn.catalogue import Catalogue, Problem
from keyturn.inventory.accounts import TargetInventory
from keyturn.inventory.drafting import Defaults, DraftedSecret, draft_entries, ending_lines, once_each
from keyturn.inventory.hub_inventory import HubInventory, Unread
from keyturn.inventory.matching import CopyQuestion, Matching, Older, match_copies
from keyturn.inventory.proposals import propose
from keyturn.inventory.store_inventory import StoreInventory

SECRETS_FILE: Final = "secrets.yaml"
ROUNDS: Final = 5
"""Rounds in which refused entries are commented out, before remaining problems are reported."""
WITHOUT_TYPES: Final = ("kubernetes",)
"""The kinds of stores that keep every value as a text."""

HEADING: Final = """\
# What the hub holds, and which copies of it were found. Nothing here is rotated: a person replaces every value, as
# before. Where a `proposal` is right, put its line in the place of `rotation`; answer each `question`, or delete it.
# `adopt: true` lets Keyturn take over a copy that others have made: it holds what the hub holds, and `keyturn plan`
# shows what would be written. Then: keyturn catalogue validate, keyturn plan, and keyturn apply once it is right.
"""
CONVERTED: Final = """\
# What the files of another tool say; neither the hub nor a store was asked. Nothing here is rotated: a person replaces
# every value. Where a `proposal` is right, put its line in the place of `rotation`; answer each `question`, or delete
# it. `keyturn plan` shows a conflict where something is there already: `adopt: true` overwrites that with what the hub
# holds. Then: keyturn catalogue validate, keyturn plan, and keyturn apply once it is right.
"""


@dataclass(frozen=True)
class Draft:
    entries: tuple[DraftedSecret, ...]
    matching: Matching
    unread: tuple[Unread, ...]
    left_out: tuple[Unread, ...]
    heading: str = HEADING

    @property
    def declared(self) -> tuple[DraftedSecret, ...]:
        return tuple(entry for entry in self.entries if not entry.refused)

    @property
    def questions(self) -> tuple[CopyQuestion, ...]:
        return self.matching.questions

    def text(self) -> str:
        return self.heading + "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield "secrets:" if self.declared else "secrets: {}"
        for entry in self.entries:
            yield from ("", *(f"  {line}" for line in entry.lines()))
        yield from ending_lines(self.unread, self.left_out, self.questions)


def draft_catalogue(
    catalogue: Catalogue,
    hub: HubInventory,
    stores: Sequence[StoreInventory],
    targets: Sequence[TargetInventory],
    older: Older,
    defaults: Defaults,
) -> Draft:
    """Return the draft for the inventories; ``catalogue`` is what a person has already declared."""
    typeless = [name for name, settings in catalogue.stores.items() if settings.kind in WITHOUT_TYPES]
    matching = match_copies(hub.secrets, stores, older, typeless)
    secrets = [secret for secret in hub.secrets if secret.path not in catalogue.secrets]
    proposals = once_each({secret.path: propose(secret, targets) for secret in secrets})
    already = [Unread(s.path, "it is declared already") for s in hub.secrets if s.path in catalogue.secrets]
    unread = [
        *hub.unread,
        *(place for store in stores for place in store.unread),
        *(place for target in targets for place in target.unread),
    ]
    entries = draft_entries(secrets, matching, proposals, defaults)
    return Draft(tuple(entries), matching, tuple(unread), (*hub.without_value, *hub.beyond, *already))


def without_refused(draft: Draft, problems_of: Callable[[str], Sequence[Problem]]) -> tuple[Draft, Sequence[Problem]]:
    """Return the draft with refused entries commented out, and the remaining problems."""
    for _ in range(ROUNDS):
        problems = problems_of(draft.text())
        refused = {path: problem for problem in problems if (path := path_of(problem, draft.declared))}
        if not refused:
            return draft, problems
        entries = (
            replace(entry, refused=f"{refused[entry.path].message}. {refused[entry.path].remedy}")
            if entry.path in refused
            else entry
            for entry in draft.entries
        )
        draft = replace(draft, entries=tuple(entries))
    return draft, problems_of(draft.text())


def path_of(problem: Problem, entries: Sequence[DraftedSecret]) -> str:
    named = [entry.path for entry in entries if f"{problem.where}.".startswith((f"secrets.{entry.path}.",))]
    indexed = [entry.path for entry in entries if problem.where.startswith(f"secrets.{entry.path}[")]
    return max((*named, *indexed), key=len, default="")
