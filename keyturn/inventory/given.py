"""The places that a person has named, as files of the catalogue that is drafted."""

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from keyturn.catalogue import Catalogue, find_problems, load_catalogue
from keyturn.catalogue.files.append import quoted
from keyturn.catalogue.files.reading import read_file
from keyturn.catalogue.files.syntax import NotYaml
from keyturn.core.errors import Invalid
from keyturn.inventory.directory import insist_on_no_problem, with_digest
from keyturn.inventory.drafting import flow

GIVEN_FILE: Final = "stores.yaml"
"""Where a file that was named is copied to."""
PLACES_FILE: Final = "places.yaml"
"""Where what was named otherwise is written to."""

SHORT: Final = {
    "aws": ("aws-secrets-manager", "region"),
    "ssm": ("aws-parameter-store", "region"),
    "azure": ("azure-key-vault", "vault_url"),
    "gcp": ("gcp-secret-manager", "project"),
    "cluster": ("kubernetes", "namespace"),
}
"""Stores that one word tells: by their names, the kind, and what the word is."""
PORTS: Final = {"postgresql": 5432, "mysql": 3306}

Places = dict[str, dict[str, dict[str, Any]]]
"""Sections of a catalogue, with their entries."""


def short_stores(words: Mapping[str, str]) -> Places:
    """The stores that were told by one word each."""
    made = {name: {"kind": SHORT[name][0], SHORT[name][1]: word} for name, word in words.items() if word}
    return {"stores": made} if made else {}


def databases(kind: str, texts: Sequence[str]) -> Places:
    """Targets, as ``NAME=HOST[:PORT]/DATABASE``. Raises Invalid."""
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
    """Further KV mounts of the hub, as ``NAME=MOUNT``. Raises Invalid."""
    made = {}
    for text in texts:
        name, sign, mount = text.partition("=")
        if not (name and sign and mount.strip("/")):
            hint = "Write it as NAME=MOUNT, such as payments=kv-payments"
            raise Invalid("read", "--mount", f"{text} is no NAME=MOUNT", hint)
        made[name] = {"mount": mount.strip("/")}
    return {"mounts": made} if made else {}


def places_to_declare(places: Places, declared: Catalogue) -> Places:
    """Those stores and mounts among them that the catalogue does not declare."""
    named = {"stores": {*declared.stores, *declared.groups}, "mounts": {*declared.mounts}}
    new = {
        section: {name: settings for name, settings in entries.items() if name not in named.get(section, ())}
        for section, entries in places.items()
    }
    return {section: entries for section, entries in new.items() if entries}


def merged_places(*several: Places) -> Places:
    """All of them, section by section."""
    sections = dict.fromkeys(section for places in several for section in places)
    return {
        section: {name: data for places in several for name, data in places.get(section, {}).items()}
        for section in sections
    }


def given_texts(output: Path, file: Path | None, places: Places) -> dict[str, str]:
    """The files that say where to look, by their names in ``output``. Raises Invalid, OSError.

    A file that lies there already is left as it is.
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
    """Sections of a catalogue, an entry in each line."""
    for section, entries in places.items():
        yield f"{section}:"
        yield from (f"  {quoted(name)}: {flow(settings)}" for name, settings in entries.items())


def declared_places(output: Path, texts: Mapping[str, str], drafted: str, env: Mapping[str, str]) -> Catalogue:
    """What these files and those of ``output`` declare, but for the one that is ``drafted`` anew. Raises Invalid."""
    with tempfile.TemporaryDirectory() as made:
        copy = Path(made)
        for other in output.glob("*.yaml") if output.is_dir() else ():
            if other.name not in texts and other.name != drafted:
                (copy / other.name).symlink_to(other.resolve())
        for name, text in texts.items():
            (copy / name).write_bytes(text.encode())
        if not any(copy.iterdir()):
            return Catalogue()
        insist_on_no_problem(output, find_problems(copy, env, signed=False))
        # Found sound: what it still could not be is signed, which nobody could have done yet.
        return load_catalogue(copy, env, despite_policy=True)
