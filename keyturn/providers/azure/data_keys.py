"""Data keys wrapped by an RSA key of Azure Key Vault (RSA-OAEP-256). Source: its API, "Wrap Key" and "Unwrap Key".

The service accepts no encryption context, so it wraps a random 32-byte secret. HMAC-SHA256 of the context with it is
the data key (a KDF by NIST SP 800-108 with one block). Needs ``keys/read``, ``keys/wrap/action`` and
``keys/unwrap/action``.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.keyvault.keys.crypto import KeyWrapAlgorithm

from keyturn.core.errors import Invalid, Unavailable
from keyturn.core.ports.envelope import KEY_BYTES, DataKey, encode_context, refuse_key
from keyturn.core.sensitive import Sensitive
from keyturn.providers.answers import reads_answers
from keyturn.providers.azure.keys import asking, open_key_client

ALGORITHM: Final = KeyWrapAlgorithm.rsa_oaep_256
DATA_KEY: Final = b"keyturn data key 1\0"
CHECK: Final = b"keyturn context 1\0"
VERSION_LENGTH: Final = 32
LOST: Final = frozenset({400, 404})


@reads_answers("Azure Key Vault")
class AzureDataKeys:
    """Data keys by one RSA key. Raises Invalid unless the address is ``https://VAULT/keys/NAME``."""

    kind = "azure-key-vault"

    def __init__(self, address: str, *, ca_file: str | None = None, authority: str | None = None) -> None:
        parts = urlsplit(address)
        _, _, key = parts.path.partition("/keys/")
        if parts.scheme != "https" or not parts.hostname or not key or "/" in key:
            raise Invalid("open", f"the key {address}", "it is no key's address", "Write https://VAULT/keys/NAME")
        self._name, self._key = address, key
        self._client = open_key_client(address, f"https://{parts.netloc}", ca_file, authority)

    def make(self, context: Mapping[str, str]) -> DataKey:
        secret = secrets.token_bytes(KEY_BYTES)
        with asking("wrap with", self._name):
            key = self._client.get_key(self._key)
            version = str(key.properties.version)
            wrapped = self._at(version).wrap_key(ALGORITHM, secret).encrypted_key
        texts = (version, base64.b64encode(wrapped).decode(), _digest(secret, CHECK, context).hex())
        return DataKey(_data_key(secret, context), ".".join(texts))

    def unwrap(self, wrapped: str, context: Mapping[str, str]) -> Sensitive:
        version, blob, check = _parsed(wrapped, self._name)
        with asking("unwrap with", self._name):
            try:
                secret: bytes = self._at(version).unwrap_key(ALGORITHM, blob).key
            except ResourceNotFoundError:
                raise refuse_key(self._name, "the vault has no such version of the key") from None
            except HttpResponseError as error:
                if error.status_code not in LOST:
                    raise
                raise refuse_key(self._name, "the vault refuses to unwrap the data key") from None
        if len(secret) != KEY_BYTES:
            problem = f"the answer's secret is not of {KEY_BYTES} bytes"
            raise Unavailable("unwrap with", self._name, problem, "Check the address, and any proxy in between")
        if not hmac.compare_digest(_digest(secret, CHECK, context), check):
            raise refuse_key(self._name, "the data key was made with another context")
        return _data_key(secret, context)

    def close(self) -> None:
        self._client.close()

    def _at(self, version: str) -> Any:
        return self._client.get_cryptography_client(self._key, key_version=version)


def _parsed(wrapped: str, name: str) -> tuple[str, bytes, bytes]:
    version, _, rest = wrapped.partition(".")
    blob, _, check = rest.partition(".")
    try:
        if len(version) != VERSION_LENGTH or not version.isalnum() or not version.isascii():
            raise ValueError("no version")
        return version, base64.b64decode(blob, validate=True), bytes.fromhex(check)
    except ValueError:
        raise refuse_key(name, "the data key was changed since it was wrapped") from None


def _digest(secret: bytes, purpose: bytes, context: Mapping[str, str]) -> bytes:
    return hmac.digest(secret, purpose + encode_context(context), hashlib.sha256)


def _data_key(secret: bytes, context: Mapping[str, str]) -> Sensitive:
    return Sensitive(base64.b64encode(_digest(secret, DATA_KEY, context)).decode())
