"""The keys of External Secrets Operator's manifests that are converted. All others are listed.

Source: "API specification" of external-secrets.io, v1, v1beta1 and PushSecret v1alpha1.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from keyturn.core.text.details import KUBERNETES_TYPES

ANY: Final = "*"
"""Any value: the conversion reads it, or it has no effect on what is written."""

Rule = str | frozenset[Any] | Mapping[str, Any] | list[Any]
"""ANY, the values that are converted, the keys of a mapping, or the rule for each entry of a list."""

STORE_REF: Final[Rule] = {"name": ANY, "kind": ANY}
_REMOTE: Final[Mapping[str, Rule]] = {
    "key": ANY,
    "decodingStrategy": frozenset({"None"}),
    "metadataPolicy": frozenset({"None"}),
    "nullBytePolicy": frozenset({"Ignore"}),
}
_SOURCE: Final[Rule] = {"storeRef": STORE_REF}
_TEMPLATE: Final[Mapping[str, Rule]] = {
    "engineVersion": frozenset({"v1", "v2"}),
    "mergePolicy": frozenset({"Replace", "Merge"}),
    "data": ANY,
}

EXTERNAL_SECRET: Final[Rule] = {
    "secretStoreRef": STORE_REF,
    "refreshInterval": ANY,
    "refreshPolicy": frozenset({"Periodic", "CreatedOnce"}),
    "target": {
        "name": ANY,
        "creationPolicy": frozenset({"Owner", "Orphan", "Merge", "CreateOrMerge"}),
        "deletionPolicy": frozenset({"Retain", "Delete", "Merge"}),
        "immutable": frozenset({False}),
        "template": {
            **_TEMPLATE,
            "type": frozenset({"Opaque", *KUBERNETES_TYPES}),
            "metadata": {"labels": ANY, "annotations": ANY},
        },
    },
    "data": [
        {
            "secretKey": ANY,
            # The operator applies this only to the names of an extract, so it has no effect here.
            "remoteRef": {**_REMOTE, "property": ANY, "conversionStrategy": frozenset({"Default", "Unicode"})},
            "sourceRef": _SOURCE,
        }
    ],
    "dataFrom": [
        {"extract": {**_REMOTE, "conversionStrategy": frozenset({"Default"})}, "rewrite": ANY, "sourceRef": _SOURCE}
    ],
}

PUSH_SECRET: Final[Rule] = {
    "secretStoreRefs": [STORE_REF],
    "refreshInterval": ANY,
    "updatePolicy": frozenset({"Replace", "IfNotExists"}),
    "deletionPolicy": frozenset({"Delete", "None"}),
    "selector": {"secret": {"name": ANY}},
    "data": [
        {
            "match": {"secretKey": ANY, "remoteRef": {"remoteKey": ANY, "property": ANY}},
            "conversionStrategy": frozenset({"None"}),
        }
    ],
    "template": _TEMPLATE,
}

VARIABLE: Final = re.compile(r"\$\{(?!\d+\})[^}]*\}")
"""A variable of Flux; the numbers of a regular expression's groups do not count."""


def not_converted(data: Any, rule: Rule, where: str = "") -> Iterator[str]:
    """Yield each key with a value that no rule converts, such as ``target.immutable: true``."""
    if data is None or data == "" or rule == ANY:
        return
    if isinstance(rule, list):
        entries = data if isinstance(data, list) else [data]
        for index, entry in enumerate(entries):
            yield from not_converted(entry, rule[0], f"{where}[{index}]")
    elif isinstance(rule, Mapping):
        if not isinstance(data, Mapping):
            yield f"{where}, which is no mapping"
            return
        for key, value in data.items():
            inner = f"{where}.{key}" if where else str(key)
            if key in rule:
                yield from not_converted(value, rule[key], inner)
            elif value not in (None, "", [], {}):
                yield inner
    elif not isinstance(data, str | bool) or data not in rule:
        yield f"{where}: {data}" if isinstance(data, str | bool | int) else where
