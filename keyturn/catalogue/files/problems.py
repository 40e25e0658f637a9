"""What is wrong with a catalogue, said so that the person who wrote it can mend it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from keyturn.core.errors import Invalid

KeyPath = tuple[str | int, ...]
"""The way to a value inside the catalogue: keys, and positions in lists."""


SHOWN: Final = 50
"""Problems that a message or a command tells one by one; of the others it tells how many they are."""


@dataclass(frozen=True, order=True)
class Problem:
    """One thing to mend. ``line`` counts from 1, and is 0 where the whole file or directory is meant.

    ``where`` is the way to the value ("secrets.app/db.rotation.grace"), empty where there is none.
    No text holds a value that could be a secret.
    """

    file: str
    line: int
    where: str
    message: str
    remedy: str
    path: KeyPath = field(default=(), compare=False)
    """The way to the value as keys, from the section on; empty where the file or the directory is meant."""

    def to_data(self) -> dict[str, str | int]:
        """For scripts."""
        return {name: value for name, value in vars(self).items() if name != "path"}

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, self.where, self.message) if part) + f". {self.remedy}"


class CatalogueInvalid(Invalid):
    """The catalogue can't be used; ``problems`` holds every reason at once, in the order of files and lines."""

    def __init__(self, directory: str, problems: Iterable[Problem], what: str = "catalogue", hint: str = "") -> None:
        self.problems = tuple(problems)
        lines = [self.count, *map(str, self.shown), *([self.others] if self.others else [])]
        super().__init__("read", f"{what} {directory}", "\n  ".join(lines), hint)
        self.args = (directory, self.problems, what, hint)

    @property
    def count(self) -> str:
        """How many there are: ``2 problems``."""
        return f"{len(self.problems):,} problem{'s' if len(self.problems) > 1 else ''}"

    @property
    def shown(self) -> tuple[Problem, ...]:
        """Those that people are told, the first ones."""
        return self.problems[:SHOWN]

    @property
    def others(self) -> str:
        """How many more there are than are shown; empty where there are none."""
        more = len(self.problems) - len(self.shown)
        return f"and {more:,} more: mend these first, then see what is left" if more else ""


def dotted(path: KeyPath) -> str:
    """A path as people read it: ``secrets.app/db.rotation.users[1]``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")
