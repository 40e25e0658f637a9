"""Reads the operator's file, which only root and Keyturn's user may be able to write."""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from yaml.nodes import Node, ScalarNode

from keyturn.catalogue.files.environment import Expanded
from keyturn.catalogue.files.explain import explain_errors
from keyturn.catalogue.files.parse import CatalogueEntry, Converter
from keyturn.catalogue.files.problems import CatalogueInvalid, Problem
from keyturn.catalogue.files.reading import read_file
from keyturn.catalogue.files.syntax import NotYaml, compose
from keyturn.catalogue.operator.policy import VARIABLE, OperatorsPolicy

FILE_LIMIT: Final = 1 << 20

CALLED: Final = "the operator's file"


def load_policy(env: Mapping[str, str], catalogue: Path) -> OperatorsPolicy:
    """The policy that the environment names; the defaults if it names none. Raises CatalogueInvalid.

    A file that others can write, or that is in the catalogue's directory, is refused.
    """
    if not (named := env.get(VARIABLE)):
        return OperatorsPolicy()
    file = Path(named).absolute()
    if problems := list(_misplaced(file, catalogue)):
        raise CatalogueInvalid(str(file), problems, CALLED)
    return _parsed(file)


def _misplaced(file: Path, catalogue: Path) -> Iterator[Problem]:
    real = Path(os.path.realpath(file))
    try:
        loose = next((part for part in _chain(file, real) if _others_may_write(part)), None)
    except OSError as error:
        remedy = f"Correct {VARIABLE}, or who may read the file; it can't be done without while it is named."
        yield _whole(file, f"it can't be read ({error.strerror})", remedy)
        return
    if loose is not None:
        remedy = f"Let root or the user who runs Keyturn own {loose}, and take the right from all others: chmod go-w."
        yield _whole(file, f"others may write {'it' if loose == real else loose}", remedy)
    if Path(os.path.realpath(catalogue)) in real.parents:
        yield _whole(file, "it is in the catalogue's directory", "Keep it where the catalogue's authors can't write.")


def _chain(file: Path, real: Path) -> Iterator[Path]:
    yield real
    yield from real.parents
    yield from file.parents


def _others_may_write(path: Path) -> bool:
    """Whether a user other than root and this one could change or replace it."""
    status = os.stat(path)
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return False
    if status.st_uid not in (0, os.geteuid()):
        return True
    shared = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    return bool(status.st_mode & 0o022) and not shared


def _parsed(file: Path) -> OperatorsPolicy:
    problems: list[Problem] = []
    try:
        root = compose(read_file(file, FILE_LIMIT))
    except NotYaml as error:
        raise CatalogueInvalid(
            str(file), [Problem(str(file), error.line, "", error.message, error.remedy)], CALLED
        ) from None
    data = Converter(str(file), problems).plain(root) if root else {}
    policy, flaws = _made(file, root or ScalarNode("", ""), data)
    if policy is None or problems:
        raise CatalogueInvalid(str(file), sorted({*problems, *flaws}), CALLED)
    return policy


def _made(file: Path, root: Node, data: Any) -> tuple[OperatorsPolicy | None, list[Problem]]:
    entry = CatalogueEntry("", "", str(file), 1, lambda *_: root, data)
    try:
        return OperatorsPolicy.model_validate(data), []
    except ValidationError as error:
        problems = explain_errors(Expanded(entry), OperatorsPolicy, error)
        return None, [replace(problem, where=problem.where.strip(".")) for problem in problems]


def _whole(file: Path, message: str, remedy: str) -> Problem:
    return Problem(str(file), 0, "", message, remedy)
