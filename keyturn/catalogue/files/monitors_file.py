"""A separate file of monitors to try."""

from collections.abc import Iterator
from pathlib import Path

from keyturn.catalogue.files.environment import Expanded, references
from keyturn.catalogue.files.explain import check_entry
from keyturn.catalogue.files.parse import CatalogueEntry, Gathered, parse_files
from keyturn.catalogue.files.problems import CatalogueInvalid
from keyturn.catalogue.files.reading import read_file
from keyturn.catalogue.files.syntax import NotYaml
from keyturn.catalogue.monitors import MonitorSettings

SECTION = "monitors"


def load_monitors(file: Path) -> dict[str, MonitorSettings]:
    """The monitors of a file that has no other section. Raises CatalogueInvalid."""
    try:
        raw: bytes | NotYaml | OSError = read_file(file)
    except (NotYaml, OSError) as error:
        raw = error
    source = parse_files(Gathered({file: raw}, []))
    problems, made = list(source.problems), dict[str, MonitorSettings]()
    for entry in _entries(source.entries):
        if entry.section != SECTION:
            remedy = f"Keep what is under {SECTION}: here."
            problems.append(entry.problem((), f"a file of rules holds {SECTION} alone", remedy))
            continue
        model, more = check_entry(Expanded(entry))
        problems += [*more, *references(entry)]
        if isinstance(model, MonitorSettings):
            made[entry.name] = model
    if problems:
        raise CatalogueInvalid(str(file), sorted(set(problems)), "the rules in")
    return made


def _entries(entries: dict[str, dict[str, CatalogueEntry]]) -> Iterator[CatalogueEntry]:
    return (entry for named in entries.values() for entry in named.values())
