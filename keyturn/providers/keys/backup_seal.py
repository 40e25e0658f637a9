"""Backups' content keys: AES-256-GCM with a derived key per label, wrapped by every recipient's key.

A label's key is HKDF-SHA256 of the content key (RFC 5869), and the label is the associated data. Each recipient wraps
the content key with its own data key.
"""

import base64
import secrets
from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyturn.core.errors import KeyturnError
from keyturn.core.ports.backups import BackupSeal
from keyturn.core.ports.envelope import KEY_BYTES, DataKeys, Refusal, SealRefused, encode_context
from keyturn.core.sensitive import Sensitive
from keyturn.providers.keys.aes_gcm import decrypt, encrypt

INFO: Final = b"keyturn-backup-1\0"
MOST_RECIPIENTS: Final = 16


class RecipientKeys:
    def __init__(self, recipients: Mapping[str, DataKeys]) -> None:
        self._recipients = dict(recipients)

    def make(self, context: Mapping[str, str]) -> BackupSeal:
        content = secrets.token_bytes(KEY_BYTES)
        recipients = []
        for name, keys in self._recipients.items():
            data_key = keys.make(context)
            sealed = encrypt(data_key.key, content, encode_context(context))
            wrapped = {"key": name, "kind": keys.kind, "wrapped": data_key.wrapped}
            recipients.append({**wrapped, "sealed": base64.b64encode(sealed).decode()})
        return ContentKey(content, {"recipients": recipients})

    def open(self, header: Mapping[str, Any], context: Mapping[str, str]) -> BackupSeal:
        refusals: list[KeyturnError] = []
        for kind, wrapped, sealed in _recipients(header):
            for keys in self._recipients.values():
                if keys.kind == kind:
                    try:
                        data_key = keys.unwrap(wrapped, context)
                        return ContentKey(decrypt(data_key, sealed, encode_context(context)), header)
                    except KeyturnError as error:
                        refusals.append(error)
        if refusals:
            raise refusals[0]
        kinds = ", ".join(f"{recipient['key']}" for recipient in header["recipients"])
        problem = f"it is sealed for {kinds}, and none of the keys at hand is of such a kind"
        raise SealRefused(Refusal.KEYLESS, "the backup", problem, "Give the key with --key")


class ContentKey:
    """:class:`keyturn.core.ports.backups.BackupSeal`."""

    def __init__(self, key: bytes, header: Mapping[str, Any]) -> None:
        self._key = key
        self.header = header

    def encrypt(self, label: str, content: bytes) -> bytes:
        return encrypt(self._of(label), content, label.encode())

    def decrypt(self, label: str, sealed: bytes) -> bytes:
        return decrypt(self._of(label), sealed, label.encode())

    def _of(self, label: str) -> Sensitive:
        derived = HKDF(SHA256(), KEY_BYTES, None, INFO + label.encode()).derive(self._key)
        return Sensitive(base64.b64encode(derived).decode())


def _recipients(header: Mapping[str, Any]) -> list[tuple[str, str, bytes]]:
    try:
        recipients = header["recipients"][:MOST_RECIPIENTS]
        return [(str(part["kind"]), str(part["wrapped"]), base64.b64decode(part["sealed"])) for part in recipients]
    except (LookupError, TypeError, ValueError):
        raise SealRefused(Refusal.MALFORMED, "the backup", "it does not state by which keys it is sealed") from None
