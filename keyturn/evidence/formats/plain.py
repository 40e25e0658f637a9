"""The report as JSON: the document itself, which is what is verified."""

from keyturn.evidence.report import Document
from keyturn.pages.files import json_text


def write_plain(document: Document) -> str:
    return json_text(document)
