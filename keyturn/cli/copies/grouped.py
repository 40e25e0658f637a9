"""Failures of many copies with one cause, such as an unreachable store: one line with their number."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from keyturn.cli.output import when

SHARED: Final = frozenset({"Unavailable", "Throttled", "Denied", "LoginRefused", "Unproven"})
"""Error classes that concern the whole store; for any other, each copy is named."""


@dataclass(frozen=True)
class CopyFailure:
    """One failed copy: its ``store``, its ``name`` there, the secret's ``path``, and the ``error`` in words.

    ``kind`` is the error's class, ``since`` the time of the first failed run; None if unknown.
    """

    store: str
    name: str
    path: str
    error: str
    kind: str = ""
    since: datetime | None = None

    @property
    def label(self) -> str:
        return f"{self.store}:{self.name}"

    @property
    def cause(self) -> tuple[str, str]:
        """Grouping key: the store and the error without the names of this copy and secret."""
        if self.kind not in SHARED:
            return self.label, self.path
        own = sorted({self.label, self.name, self.path} - {""}, key=len, reverse=True)
        return self.store, re.sub(rf"(?<![\w-])(?:{'|'.join(map(re.escape, own))})(?![\w-])", "", self.error)

    @staticmethod
    def of_label(label: str, path: str, error: str, kind: str) -> "CopyFailure":
        """The failure of a copy that is known by its label only."""
        store, _, name = label.partition(":")
        return CopyFailure(store, name, path, error, kind)


def by_cause(failures: Iterable[CopyFailure]) -> list[list[CopyFailure]]:
    """Group the failures by store and cause, in the order of their first failure."""
    groups: dict[tuple[str, str], list[CopyFailure]] = defaultdict(list)
    for failure in failures:
        groups[failure.cause].append(failure)
    return list(groups.values())


def failure_lines(failures: Iterable[CopyFailure]) -> list[str]:
    """One line for each cause: the one copy, or their number and the first one's error."""
    return [cause_line(group) for group in by_cause(failures)]


def cause_line(group: Sequence[CopyFailure]) -> str:
    first, begun = group[0], min((failure.since for failure in group if failure.since), default=None)
    since = f" (since {when(begun)} UTC)" if begun else ""
    copies = f"{len(group)} copies in {first.store}, the first is " if len(group) > 1 else ""
    whose = f" of {first.path}" if first.path else ""  # workloads of a store belong to no single secret
    return f"{copies}{first.label}{whose}: {first.error}{since}"
