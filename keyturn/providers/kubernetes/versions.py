"""The past of a Secret: Kubernetes keeps no old version, but ``kubectl apply`` may note the data.

It writes all data to an annotation, in base64. Source: "Declarative Management of Kubernetes Objects".
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
NAME: Final = "last applied by kubectl"


def noted(manifest: Mapping[str, Any], *, merged: bool) -> dict[str, str]:
    """The data in that annotation, in base64; with ``merged``, of Keyturn's keys only."""
    metadata = manifest["metadata"]
    annotations = metadata.get("annotations") or {}
    data = _data(annotations.get(KUBECTL_APPLIED) or "")
    ours = parse_names(annotations.get(KEYS)) or () if merged and marks_in(metadata) else data
    return {key: encoded for key, encoded in data.items() if key in ours}


def outlived(manifest: Mapping[str, Any], *, merged: bool) -> bool:
    served = manifest.get("data") or {}
    return any(served.get(key) != encoded for key, encoded in noted(manifest, merged=merged).items())


def past(manifest: Mapping[str, Any], *, merged: bool) -> dict[str, Sensitive]:
    """The possible texts of outdated noted data."""
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
    metadata = manifest["metadata"]
    return metadata.get("finalizers") or () if "deletionTimestamp" in metadata else ()


def _data(annotation: str) -> dict[str, str]:
    try:
        document = json.loads(annotation)
        plain = document.get("stringData") or {}
        return {
            **(document.get("data") or {}),
            **{key: base64.b64encode(member.encode()).decode() for key, member in plain.items()},
        }
    except (ValueError, AttributeError, TypeError, RecursionError):
        return {}
