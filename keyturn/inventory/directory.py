"""The files of a drafted catalogue: never written over a person's edits."""

import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from keyturn.catalogue import Problem, find_problems
from keyturn.catalogue.files.append import write_file
from keyturn.core.errors import Conflict, Invalid

MADE_BY: Final = "# Made by `keyturn init`"
DIGEST: Final = re.compile(r"# Made by `keyturn init`\. As it was made: sha256 ([0-9a-f]{64})\n")

KEEP: Final = "Give another --output and take over what is new, or --force to lose the edits"


def with_digest(body: str) -> str:
    """Return a file's text with a first line that reveals later edits."""
    return f"{MADE_BY}. As it was made: sha256 {hashlib.sha256(body.encode()).hexdigest()}\n{body}"


def is_as_made(text: str) -> bool:
    head = DIGEST.match(text)
    return bool(head) and with_digest(text[head.end() :]) == text if head else False


def insist_on_unedited(directory: Path, names: Sequence[str]) -> None:
    there = [directory / name for name in names if (directory / name).exists()]
    edited = [file.name for file in there if not is_as_made(file.read_bytes().decode(errors="replace"))]
    if edited:
        problem = f"{', '.join(edited)} {'was' if len(edited) == 1 else 'were'} written or edited by hand"
        raise Conflict("write to", str(directory), problem, KEEP)


@contextmanager
def catalogue_copy(directory: Path, texts: Mapping[str, str], without: str = "") -> Iterator[Path]:
    """Make a temporary directory of the catalogue's files, with ``texts`` added, and one left out."""
    with tempfile.TemporaryDirectory() as made:
        copy = Path(made)
        for other in directory.glob("*.yaml") if directory.is_dir() else ():
            if other.name not in texts and other.name != without:
                (copy / other.name).symlink_to(other.resolve())
        for name, text in texts.items():
            (copy / name).write_bytes(text.encode())
        yield copy


def problems_with(directory: Path, texts: Mapping[str, str], env: Mapping[str, str]) -> list[Problem]:
    """Return the problems of ``directory`` with these files added. Writes nothing there."""
    with catalogue_copy(directory, texts) as copy:
        return find_problems(copy, env, signed=False)


def insist_on_no_problem(directory: Path, problems: Sequence[Problem]) -> None:
    if problems:
        first = problems[0]
        message = ": ".join(part for part in (first.file, first.where, first.message) if part)
        more = f" (and {len(problems) - 1} more)" if problems[1:] else ""
        raise Invalid("make a catalogue in", str(directory), f"{message}{more}", first.remedy)


def write_files(directory: Path, texts: Mapping[str, str]) -> list[Path]:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_file(directory / name, text)
    return [directory / name for name in texts]
