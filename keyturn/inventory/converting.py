"""Recognise the format of each file, and convert all files together."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from keyturn.core.errors import Invalid
from keyturn.inventory.conversion import Conversion, read_documents, text_at
from keyturn.inventory.eso_stores import HubPlace
from keyturn.inventory.from_aws import convert_aws
from keyturn.inventory.from_eso import GROUP, Manifests
from keyturn.inventory.from_mapping import REMEDY, convert_mapping


def convert_files(files: Sequence[Path], hub: HubPlace, declared: Mapping[str, str] | None = None) -> Conversion:
    """Return the conversion of these files; ``declared`` are known stores with locations. Raises Invalid."""
    into, manifests = Conversion(declared=declared or {}), Manifests(hub, declared or ())
    for file in files:
        for document in read_documents(file):
            if not isinstance(document, Mapping):
                raise Invalid("read", str(file), "it holds something that is no mapping", REMEDY)
            if text_at(document, "apiVersion").startswith(GROUP):
                manifests.take(document, into)
            elif "apiVersion" in document:
                named = f"{text_at(document, 'kind')} {text_at(document, 'metadata', 'name')}"
                into.leave_out(named, "it is no manifest of External Secrets Operator")
            elif text_at(document, "ARN") and text_at(document, "Name"):
                convert_aws(document, into)
            else:
                convert_mapping(document, hub.mount, into, str(file))
    manifests.convert(into)
    if not (into.secrets or into.left_out):
        raise Invalid("read", ", ".join(map(str, files)), "nothing in it speaks of a secret", REMEDY)
    return into
