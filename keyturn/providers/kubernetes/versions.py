"""What of a Secret's past Kubernetes keeps: no old version, but perhaps what ``kubectl apply`` has noted down.

It writes all that it was given into an annotation, values in base64 included, and whoever may read the Secret's
metadata reads them there, long after the data has changed. Source: "Declarative Management of Kubernetes Objects".
"""

import base64
import json
from collections.abc import Collection, Mapping
from typing import Any, Final

from keyturn.core.details import KUBECTL_APPLIED
from keyturn.core.sensitive import Sensitive
from keyturn.providers.kubernetes.marks import JSON_KEYS, KEYS, listed, marks_in
from keyturn.providers.kubernetes.values import ONLY_KEY, text

UNNOTED: Final[Mapping[str, Any]] = {"annotations": {KUBECTL_APPLIED: None}}
"""What is patched to remove it; kubectl makes it anew at its next apply."""
NAME: Final = "last applied by kubectl"
"""What that version is called."""


def noted(told: Mapping[str, Any], *, merged: bool) -> dict[str, str]:
    """The data in that annotation of a Secret, in base64 by key; with ``merged``, of our keys alone."""
    metadata = told["metadata"]
    annotations = metadata.get("annotations") or {}
    data = _data(annotations.get(KUBECTL_APPLIED) or "")
    ours = listed(annotations.get(KEYS)) or () if merged and marks_in(metadata) else data
    return {key: encoded for key, encoded in data.items() if key in ours}


def outlived(told: Mapping[str, Any], *, merged: bool) -> bool:
    """Whether the noted data is another than what is served."""
    served = told.get("data") or {}
    return any(served.get(key) != encoded for key, encoded in noted(told, merged=merged).items())


def past(told: Mapping[str, Any], *, merged: bool) -> dict[str, Sensitive]:
    """Every text that outlived data may stand for; nothing where it is no text."""
    if not outlived(told, merged=merged):
        return {}
    data = noted(told, merged=merged)
    json_keys = listed((told["metadata"].get("annotations") or {}).get(JSON_KEYS)) or frozenset()
    try:
        texts = {NAME: text(data, json_keys)}
        return {**texts, f"{NAME}, as a text": text(data, None)} if data.keys() == {ONLY_KEY} else texts
    except ValueError:
        return {}


def finalizers(told: Mapping[str, Any]) -> Collection[str]:
    """What keeps a Secret that is being deleted; nothing where it is not being deleted."""
    metadata = told["metadata"]
    return metadata.get("finalizers") or () if "deletionTimestamp" in metadata else ()


def _data(annotation: str) -> dict[str, str]:
    """The data that was applied, in base64."""
    try:
        told = json.loads(annotation)
        plain = told.get("stringData") or {}
        return {
            **(told.get("data") or {}),
            **{key: base64.b64encode(member.encode()).decode() for key, member in plain.items()},
        }
    except (ValueError, AttributeError, TypeError, RecursionError):
        return {}
