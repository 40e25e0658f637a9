"""Problems of a catalogue, with the place and the fix."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from keyturn.core.errors import Invalid

KeyPath = tuple[str | int, ...]
"""The path to a value in the catalogue: keys and list positions."""


SHOWN: Final = 50
"""The number of problems that a message or a command lists; the rest are only counted."""


@dataclass(frozen=True, order=True)
class Problem:
    """One problem to fix. ``line`` counts from 1; 0 means the whole file or directory.

    ``where`` is the path to the value ("secrets.app/db.rotation.grace"), empty if there is none. No text contains a
    value that could be a secret.
    """

    file: str
    line: int
    where: str
    message: str
    remedy: str
    path: KeyPath = field(default=(), compare=False)
    """The path to the value, with its section; empty for the file or the directory."""

    def to_data(self) -> dict[str, str | int]:
        return {name: value for name, value in vars(self).items() if name != "path"}

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, self.where, self.message) if part) + f". {self.remedy}"


class CatalogueInvalid(Invalid):
    """The catalogue is invalid; ``problems`` has every reason, in the order of files and lines."""

    def __init__(self, directory: str, problems: Iterable[Problem], what: str = "catalogue", hint: str = "") -> None:
        self.problems = tuple(problems)
        lines = [self.count, *map(str, self.shown), *([self.others] if self.others else [])]
        super().__init__("read", f"{what} {directory}", "\n  ".join(lines), hint)
        self.args = (directory, self.problems, what, hint)

    @property
    def count(self) -> str:
        return f"{len(self.problems):,} problem{'s' if len(self.problems) > 1 else ''}"

    @property
    def shown(self) -> tuple[Problem, ...]:
        return self.problems[:SHOWN]

    @property
    def others(self) -> str:
        more = len(self.problems) - len(self.shown)
        return f"and {more:,} more: fix these first, then check again" if more else ""


def dotted(path: KeyPath) -> str:
    """A path for messages: ``secrets.app/db.rotation.users[1]``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.lstrip(".")
