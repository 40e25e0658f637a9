"""What is wrong with a catalogue, said so that the person who wrote it can mend it."""

from collections.abc import Iterable
from dataclasses import dataclass

from keyturn.core.errors import Invalid

Path = tuple[str | int, ...]
"""The way to a value inside the catalogue: keys, and positions in lists."""


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

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, self.where, self.message) if part) + f". {self.remedy}"


class CatalogueInvalid(Invalid):
    """The catalogue can't be used; ``problems`` holds every reason at once, in the order of files and lines."""

    def __init__(self, directory: str, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problem{'s' if len(self.problems) > 1 else ''}"
        super().__init__("read", f"catalogue {directory}", "\n  ".join([count, *map(str, self.problems)]))
        self.args = (directory, self.problems)


def dotted(path: Path) -> str:
    """A path as people read it: ``secrets.app/db.rotation.users[1]``."""
    said = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return said.removeprefix(".")
