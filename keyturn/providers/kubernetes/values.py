"""Conversion between a text and the data of a Kubernetes Secret, exact to the byte.

Source: "Secrets" in the Kubernetes documentation.
"""

import base64
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from keyturn.core.fingerprint import payload
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text.details import KUBERNETES_TYPES

ONLY_KEY: Final = "value"

KEY: Final = re.compile(r"(?!\.\.)(?!\.\Z)[-._a-zA-Z0-9]{1,253}")
KEY_RULE: Final = "1 to 253 letters, digits and -._, not . and no two dots first"

OPAQUE: Final = "Opaque"
TLS: Final = "kubernetes.io/tls"
DOCKER: Final = "kubernetes.io/dockerconfigjson"


@dataclass(frozen=True)
class Entries:
    """``json_keys`` is None for a whole text under the key ``value``. ``asked`` is the catalogue's type, or empty."""

    data: Mapping[str, str] = field(repr=False)
    json_keys: tuple[str, ...] | None
    asked: str = ""

    @property
    def type(self) -> str:
        if self.asked:
            return self.asked
        if self.data.keys() - {"ca.crt"} == {"tls.crt", "tls.key"}:
            return TLS
        return DOCKER if self.data.keys() == {".dockerconfigjson"} else OPAQUE

    @property
    def lacking(self) -> tuple[str, ...]:
        return tuple(key for key in KUBERNETES_TYPES.get(self.asked, ()) if key not in self.data)

    @property
    def illegal_key(self) -> str | None:
        return next((key for key in self.data if not KEY.fullmatch(key)), None)


def entries(value: Sensitive) -> Entries:
    """One key per field of a JSON object in Keyturn's form, else one key for the whole text.

    Strings are stored unchanged, other JSON values as JSON text.
    """
    fields = _fields(value)
    if fields is None:
        return Entries({ONLY_KEY: _encoded(value.reveal())}, None)
    texts = {key: text if isinstance(text, str) else _canonical(text) for key, text in fields.items()}
    data = {key: _encoded(text) for key, text in texts.items()}
    return Entries(data, tuple(key for key, member in fields.items() if not isinstance(member, str)))


def entries_text(data: Mapping[str, str], json_keys: Collection[str] | None) -> Sensitive:
    """Raises ValueError if a value is no UTF-8 text."""
    texts = {key: base64.b64decode(encoded).decode() for key, encoded in data.items()}
    if json_keys is None and texts.keys() == {ONLY_KEY}:
        return Sensitive(texts[ONLY_KEY])
    members = {key: _member(member) if key in (json_keys or ()) else member for key, member in texts.items()}
    return payload(SecretFields(members))


def _fields(value: Sensitive) -> dict[str, Any] | None:
    try:
        fields = json.loads(value.reveal())
        canonical = isinstance(fields, dict) and bool(fields) and _canonical(fields) == value.reveal()
    except (ValueError, RecursionError):
        return None
    return fields if canonical else None


def _canonical(document: Any) -> str:
    return json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _member(member: str) -> Any:
    try:
        return json.loads(member)
    except (ValueError, RecursionError):
        return member


def _encoded(member: str) -> str:
    return base64.b64encode(member.encode()).decode()
