"""The formats of a report, one file each: the same text for the same document."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Final

from keyturn.evidence.report import Document

Write = Callable[[Document], str]

FORMATS: Final[Mapping[str, tuple[str, str, str]]] = {
    "html": ("html", "keyturn.evidence.formats.html", "write_page"),
    "json": ("json", "keyturn.pages.files", "json_text"),
    "csv": ("csv", "keyturn.evidence.formats.csv", "write_csv"),
    "oscal": ("oscal.json", "keyturn.evidence.formats.oscal", "write_oscal"),
    "cbom": ("cdx.json", "keyturn.evidence.formats.cbom", "write_cbom"),
}
"""By name: the file extension, and the module and function that write it."""


def write_format(name: str, document: Document) -> tuple[str, str]:
    ending, module, function = FORMATS[name]
    write: Write = getattr(import_module(module), function)
    return ending, write(document)
