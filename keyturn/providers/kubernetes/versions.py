"""What of a Secret's past Kubernetes keeps: no old version, but perhaps what ``kubectl apply`` has noted down.

It writes all that it was given into an annotation, values in base64 included, and whoever may read the Secret's
metadata reads them there, long after the data has changed. Source: "Declarative Management of Kubernetes Objects".
"""

import base64
import json
from collections.abc import Collection, Mapping
from typing import Any, Final

from keyturn.core.sensitive import Sensitive
from keyturn.core.text.details import KUBECTL_APPLIED
from keyturn.providers.kubernetes.marks import JSON_KEYS, KEYS, marks_in, parse_names
from keyturn.providers.kubernetes.values import ONLY_KEY, entries_text

UNNOTED: Final[Mapping[str, Any]] = {"annotations": {KUBECTL_APPLIED: None}}
"""What is patched to remove it; kubectl makes it anew at its next apply."""
NAME: Final = "last applied by kubectl"
"""What that version is called."""


def noted(manifest: Mapping[str, Any], *, merged: bool) -> dict[str, str]:
    """The data in that annotation of a Secret, in base64 by key; with ``merged``, of our keys alone."""
    metadata = manifest["metadata"]
    annotations = metadata.get("annotations") or {}
    data = _data(annotations.get(KUBECTL_APPLIED) or "")
    ours = parse_names(annotations.get(KEYS)) or () if merged and marks_in(metadata) else data
    return {key: encoded for key, encoded in data.items() if key in ours}


def outlived(manifest: Mapping[str, Any], *, merged: bool) -> bool:
    """Whether the noted data is another than what is served."""
    served = manifest.get("data") or {}
    return any(served.get(key) != encoded for key, encoded in noted(manifest, merged=merged).items())


def past(manifest: Mapping[str, Any], *, merged: bool) -> dict[str, Sensitive]:
    """Every text that outlived data may stand for; nothing where it is no text."""
    if not outlived(manifest, merged=merged):
        return {}
    data = noted(manifest, merged=merged)
    json_keys = parse_names((manifest["metadata"].get("annotations") or {}).get(JSON_KEYS)) or frozenset()
    try:
        texts = {NAME: entries_text(data, json_keys)}
        return {**texts, f"{NAME}, as a text": entries_text(data, None)} if data.keys() == {ONLY_KEY} else texts
    except ValueError:
        return {}


def finalizers(manifest: Mapping[str, Any]) -> Collection[str]:
    """What keeps a Secret that is being deleted; nothing where it is not being deleted."""
    metadata = manifest["metadata"]
    return metadata.get("finalizers") or () if "deletionTimestamp" in metadata else ()


def _data(annotation: str) -> dict[str, str]:
    """The data that was applied, in base64."""
    try:
        document = json.loads(annotation)
        plain = document.get("stringData") or {}
        return {
            **(document.get("data") or {}),
            **{key: base64.b64encode(member.encode()).decode() for key, member in plain.items()},
        }
    except (ValueError, AttributeError, TypeError, RecursionError):
        return {}
