"""Appends secrets to a file of the catalogue. Existing lines stay unchanged."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from yaml.nodes import MappingNode, Node, ScalarNode

from keyturn.catalogue import find_problems
from keyturn.catalogue.files.reading import read_file
from keyturn.catalogue.files.syntax import NotYaml, compose
from keyturn.core.errors import Invalid

SECTION: Final = "secrets"
INDENT: Final = 2
ANOTHER: Final = "Give --catalogue-file another file of the catalogue's directory; it is made where it is missing"


@dataclass(frozen=True)
class Declaration:
    """A secret that a person replaces, and its one copy; ``field`` is the copy's only field, if its text is bare."""

    path: str
    owner: str
    classification: str
    store: str
    name: str
    field: str = ""

    def lines(self) -> list[str]:
        bare = f", field: {quoted(self.field)}" if self.field else ""
        return [
            f"{quoted(self.path)}:",
            f"  owner: {quoted(self.owner)}",
            f"  classification: {self.classification}",
            "  rotation: { strategy: manual }",
            "  destinations:",
            f"    - {{ store: {quoted(self.store)}, name: {quoted(self.name)}{bare}, adopt: true }}",
        ]


def quoted(text: str) -> str:
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_/-]*", text) and text.lower() not in ("null", "true", "false")
    return text if plain else json.dumps(text, ensure_ascii=False)


def file_in(directory: Path, name: Path) -> Path:
    """The path of ``name``, by default in the catalogue's directory. Raises Invalid if the catalogue ignores it."""
    file = directory / name if name.parent == Path() else name
    if file.parent.resolve() != directory.resolve():
        raise Invalid("write", str(name), f"it is not in the catalogue's directory {directory}", ANOTHER)
    if file.suffix != ".yaml" or file.name.startswith("."):
        raise Invalid(
            "write", str(name), "the catalogue reads only files that end in .yaml, and no hidden ones", ANOTHER
        )
    return file


def added(file: Path, declarations: Sequence[Declaration]) -> str:
    """The text of the file with the declarations at its end; the file may be missing. Raises Invalid."""
    try:
        before = read_file(file).decode() if file.exists() else ""
        indent, header = _place(file, before)
    except NotYaml as error:
        where = f"line {error.line}: " if error.line else ""
        raise Invalid("add to", str(file), f"{where}{error.message}", error.remedy) from None
    lines = [f"{' ' * indent}{line}" for declared in declarations for line in declared.lines()]
    newline = "\r\n" if "\r\n" in before else "\n"
    open_line = before and not before.endswith("\n")
    return before + (newline if open_line else "") + newline.join([*header, *lines]) + newline


def _place(file: Path, text: str) -> tuple[int, list[str]]:
    """The indentation of new secrets, and the lines needed before them. Raises NotYaml, Invalid."""
    root = compose(text.encode())
    if root is None:
        return INDENT, [f"{SECTION}:"]
    if not isinstance(root, MappingNode) or root.flow_style:
        raise Invalid("add to", str(file), "it is written as one list or mapping in brackets", ANOTHER)
    keys = [key.value for key, _ in root.value]
    if SECTION not in keys:
        return INDENT, [f"{SECTION}:"]
    if keys[-1] != SECTION:
        problem = f"something follows its {SECTION}, and nothing is put in between"
        raise Invalid("add to", str(file), problem, ANOTHER)
    return _indent(file, root.value[-1][1]), []


def _indent(file: Path, section: Node) -> int:
    if isinstance(section, MappingNode) and not section.flow_style:
        return int(section.value[0][0].start_mark.column)
    if isinstance(section, ScalarNode) and not section.value:
        return INDENT
    raise Invalid("add to", str(file), f"its {SECTION} are written in brackets", ANOTHER)


def insist_on_sound(directory: Path, file: Path, text: str, env: Mapping[str, str]) -> None:
    """Checks the whole catalogue with ``text`` in ``file``. Raises Invalid with the first problem."""
    with tempfile.TemporaryDirectory() as made:
        copy = Path(made)
        for other in directory.glob("*.yaml"):
            if other.name != file.name:
                (copy / other.name).symlink_to(other.resolve())
        (copy / file.name).write_bytes(text.encode())
        problems = find_problems(copy, env, signed=False)
    if problems:
        first = problems[0]
        message = ": ".join(part for part in (first.where, first.message) if part)
        raise Invalid("add to", str(file), message, first.remedy.replace(f"{copy}/", ""))


def write_file(file: Path, text: str, mode: int | None = None) -> None:
    """Replaces the file's content atomically.

    Without ``mode``, an existing file keeps its permissions and a new one is readable by all.
    """
    real = file.resolve()
    descriptor, name = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
    try:
        with os.fdopen(descriptor, "wb") as made:
            made.write(text.encode())
            made.flush()
            os.fsync(made.fileno())
        if mode is None and real.exists():
            shutil.copymode(real, name)
        else:
            os.chmod(name, 0o644 if mode is None else mode)
        os.replace(name, real)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
