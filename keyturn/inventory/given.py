"""Write the stores and targets that a person named as files of the catalogue."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from keyturn.catalogue import Catalogue, find_problems, load_catalogue
from keyturn.catalogue.files.append import quoted
from keyturn.catalogue.files.reading import read_file
from keyturn.catalogue.files.syntax import NotYaml
from keyturn.core.errors import Invalid
from keyturn.inventory.directory import catalogue_copy, insist_on_no_problem, with_digest
from keyturn.inventory.drafting import flow

GIVEN_FILE: Final = "stores.yaml"
"""The name for the copy of a given file."""
PLACES_FILE: Final = "places.yaml"
"""The name of the file for places from other options."""

SHORT: Final = {
    "aws": ("aws-secrets-manager", "region"),
    "ssm": ("aws-parameter-store", "region"),
    "azure": ("azure-key-vault", "vault_url"),
    "gcp": ("gcp-secret-manager", "project"),
    "cluster": ("kubernetes", "namespace"),
}
"""Stores that one word defines: by name, the kind and the setting."""
PORTS: Final = {"postgresql": 5432, "mysql": 3306}

Places = dict[str, dict[str, dict[str, Any]]]
"""Sections of a catalogue, with their entries."""


def short_stores(words: Mapping[str, str]) -> Places:
    made = {name: {"kind": SHORT[name][0], SHORT[name][1]: word} for name, word in words.items() if word}
    return {"stores": made} if made else {}


def databases(kind: str, texts: Sequence[str]) -> Places:
    """Return targets from ``NAME=HOST[:PORT]/DATABASE``. Raises Invalid."""
    made = {}
    for text in texts:
        if not (match := re.fullmatch(r"([A-Za-z0-9_-]+)=(\[[^\]]+\]|[^:/@]+)(?::(\d+))?/([^/@]+)", text)):
            hint = "Write it as NAME=HOST[:PORT]/DATABASE; the admin's login goes to targets/NAME in the hub"
            raise Invalid("read", f"--{kind}", "it is no NAME=HOST[:PORT]/DATABASE", hint)
        name, host, port, database = match.groups()
        where = {"host": host.strip("[]"), "port": int(port or PORTS[kind]), "database": database}
        made[name] = {"kind": kind, **where, "admin": f"targets/{name}"}
    return {"targets": made} if made else {}


def mounts(texts: Sequence[str]) -> Places:
    """Return further KV mounts of the hub from ``NAME=MOUNT``. Raises Invalid."""
    made = {}
    for text in texts:
        name, sign, mount = text.partition("=")
        if not (name and sign and mount.strip("/")):
            hint = "Write it as NAME=MOUNT, such as payments=kv-payments"
            raise Invalid("read", "--mount", f"{text} is no NAME=MOUNT", hint)
        made[name] = {"mount": mount.strip("/")}
    return {"mounts": made} if made else {}


def places_to_declare(places: Places, declared: Catalogue) -> Places:
    named = {"stores": {*declared.stores, *declared.groups}, "mounts": {*declared.mounts}}
    new = {
        section: {name: settings for name, settings in entries.items() if name not in named.get(section, ())}
        for section, entries in places.items()
    }
    return {section: entries for section, entries in new.items() if entries}


def merged_places(*several: Places) -> Places:
    sections = dict.fromkeys(section for places in several for section in places)
    return {
        section: {name: data for places in several for name, data in places.get(section, {}).items()}
        for section in sections
    }


def given_texts(output: Path, file: Path | None, places: Places) -> dict[str, str]:
    """Return the files that declare where to look, by their names in ``output``. Raises Invalid, OSError.

    A file that is already in ``output`` is not changed.
    """
    texts = {}
    if file is not None and file.resolve().parent != output.resolve():
        try:
            texts[GIVEN_FILE] = with_digest(read_file(file).decode())
        except (NotYaml, UnicodeDecodeError) as error:
            problem = error.message if isinstance(error, NotYaml) else "it is no text in UTF-8"
            raise Invalid("read", str(file), problem, "Give a file of a catalogue, with stores and targets") from None
    if places:
        texts[PLACES_FILE] = with_digest("\n".join(section_lines(places)) + "\n")
    return texts


def section_lines(places: Places) -> Iterator[str]:
    for section, entries in places.items():
        yield f"{section}:"
        yield from (f"  {quoted(name)}: {flow(settings)}" for name, settings in entries.items())


def declared_places(output: Path, texts: Mapping[str, str], drafted: str, env: Mapping[str, str]) -> Catalogue:
    """Return the declarations of these files and ``output``, without the file ``drafted``. Raises Invalid."""
    with catalogue_copy(output, texts, without=drafted) as copy:
        if not any(copy.iterdir()):
            return Catalogue()
        insist_on_no_problem(output, find_problems(copy, env, signed=False))
        # It has no problems. It can't be signed yet, so the policy on signatures is skipped.
        return load_catalogue(copy, env, despite_policy=True)
