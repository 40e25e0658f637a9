"""Checks of drills: secrets that are revoked for practice and that no one depends on."""

from collections.abc import Iterator
from typing import Final

from keyturn.catalogue.checks.decoys import is_decoy
from keyturn.catalogue.checks.plain_data import at, text_at
from keyturn.catalogue.files.parse import CatalogueEntry
from keyturn.catalogue.files.problems import Problem
from keyturn.core.mounts import split

FOLDER: Final = "drills/"


def in_its_folder(entry: CatalogueEntry, _: object) -> Iterator[Problem]:
    if at(entry.data, ("drill",)) is not None and not split(entry.name)[1].startswith(FOLDER):
        message = f"a drill revokes it, and its path does not begin with {FOLDER}"
        yield entry.problem(("drill",), message, f"Make a separate secret below {FOLDER}, which nothing needs.")


def replaced_by_itself(entry: CatalogueEntry, _: object) -> Iterator[Problem]:
    if at(entry.data, ("drill",)) is None:
        return
    if text_at(entry, "rotation", "strategy") == "manual":
        message = "a person would have to replace it after each drill"
        yield entry.problem(("rotation", "strategy"), message, "Use a strategy that makes values, as the real ones do.")
    if is_decoy(entry):
        yield entry.problem(("decoy",), "a decoy is not used, so a drill shows nothing", "Leave one of the two out.")


def ended_at_a_target(entry: CatalogueEntry, _: object) -> Iterator[Problem]:
    if at(entry.data, ("dead_within",)) is not None and is_decoy(entry):
        message = "a decoy opens nothing, so no target could refuse it"
        yield entry.problem(("dead_within",), message, "Remove one of the two.")


CHECKS: Final = (in_its_folder, replaced_by_itself, ended_at_a_target)
