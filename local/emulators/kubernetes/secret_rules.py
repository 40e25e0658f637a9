"""What the API server takes as a Secret, and what it makes of it. Source: "Secrets", and ValidateSecret."""

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from local.emulators.kubernetes.messages import Cause, Refusal

Tree = dict[str, Any]

MAX_BYTES: Final = 1 << 20
MAX_ANNOTATIONS: Final = 256 << 10
KEY: Final = re.compile(r"(?!\.\.)(?!\.\Z)[-._a-zA-Z0-9]{1,253}")
NAME: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL: Final = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?")
QUALIFIED: Final = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]")
REQUIRED: Final = {
    "kubernetes.io/tls": (("tls.crt",), ("tls.key",)),
    "kubernetes.io/dockerconfigjson": ((".dockerconfigjson",),),
    "kubernetes.io/basic-auth": (("username", "password"),),
    "kubernetes.io/ssh-auth": (("ssh-privatekey",),),
}
"""For each type, groups of keys of which one at least is needed."""
PARTS: Final = ("apiVersion", "kind", "metadata", "immutable", "data", "stringData", "type")


def decoded(tree: Tree) -> Tree:
    """The Secret in a request, as it is kept. Raises :class:`Refusal` (400) for what is no Secret."""
    made: Tree = {part: tree[part] for part in PARTS if part in tree}
    for part in ("data", "stringData"):
        texts = made.get(part) or {}
        if not isinstance(texts, dict) or not all(isinstance(text, str | None) for text in texts.values()):
            raise _no_secret(f"cannot unmarshal {part} into a map of strings")
    data = {key: _canonical(text or "") for key, text in (made.pop("data", None) or {}).items()}
    strings = {key: text or "" for key, text in (made.pop("stringData", None) or {}).items()}
    data |= {key: base64.b64encode(text.encode()).decode() for key, text in strings.items()}
    return {**made, **({"data": data} if data else {}), "type": made.get("type") or "Opaque"}


def problems(tree: Tree, before: Tree | None) -> Iterator[Cause]:
    """Everything that is wrong with the Secret, as a change of ``before`` where there was one."""
    data: Mapping[str, str] = tree.get("data") or {}
    for key in data:
        if not KEY.fullmatch(key):
            yield Cause(f"data[{key}]", "a valid config key must consist of alphanumeric characters, '-', '_' or '.'")
    if sum(len(base64.b64decode(text)) for text in data.values()) > MAX_BYTES:
        yield Cause("data", f"Too long: may not be more than {MAX_BYTES} bytes", "FieldValueTooLong")
    yield from _of_type(tree["type"], data)
    if before is not None:
        yield from _changes(tree, before)


def _of_type(kind: str, data: Mapping[str, str]) -> Iterator[Cause]:
    for group in REQUIRED.get(kind, ()):
        if not data.keys() & set(group):
            yield Cause(f"data[{group[0]}]", "Required value", "FieldValueRequired")
    if kind == "kubernetes.io/dockerconfigjson" and ".dockerconfigjson" in data:
        try:
            json.loads(base64.b64decode(data[".dockerconfigjson"]))
        except ValueError:
            yield Cause("data[.dockerconfigjson]", "Invalid value: <secret contents redacted>: not valid JSON")


def _changes(tree: Tree, before: Tree) -> Iterator[Cause]:
    if tree["type"] != before["type"]:
        yield Cause("type", "Invalid value: field is immutable")
    if before.get("immutable"):
        if not tree.get("immutable"):
            yield Cause("immutable", "Forbidden: field is immutable when `immutable` is set", "FieldValueForbidden")
        if tree.get("data") != before.get("data"):
            yield Cause("data", "Forbidden: field is immutable when `immutable` is set", "FieldValueForbidden")


def metadata_problems(metadata: Tree) -> Iterator[Cause]:
    """What is wrong with the metadata of any object."""
    if not NAME.fullmatch(metadata["name"]):
        yield Cause("metadata.name", "Invalid value: a lowercase RFC 1123 subdomain must consist of ...")
    for key, value in (metadata.get("labels") or {}).items():
        if not QUALIFIED.fullmatch(key) or not LABEL.fullmatch(value):
            yield Cause("metadata.labels", "Invalid value: must be no more than 63 characters, or a qualified name")
    annotations = metadata.get("annotations") or {}
    if not all(QUALIFIED.fullmatch(key) for key in annotations):
        yield Cause("metadata.annotations", "Invalid value: name part must consist of alphanumeric characters")
    if sum(len(key.encode()) + len(text.encode()) for key, text in annotations.items()) > MAX_ANNOTATIONS:
        yield Cause("metadata.annotations", f"Too long: must have at most {MAX_ANNOTATIONS} bytes", "FieldValueTooLong")


def _canonical(text: str) -> str:
    try:
        return base64.b64encode(base64.b64decode(text, validate=True)).decode()
    except (binascii.Error, ValueError):
        raise _no_secret("illegal base64 data") from None


def _no_secret(problem: str) -> Refusal:
    return Refusal(400, f'Secret in version "v1" cannot be handled as a Secret: {problem}')
