"""Data keys wrapped by a transit key. Source: "Transit secrets engine (API)" of Vault and OpenBao.

The engine's own endpoint for data keys takes no associated data. Needs only ``update`` on ``transit/encrypt/<key>`` and
``transit/decrypt/<key>``.
"""

import base64
from collections.abc import Mapping
from typing import Any, Final

from keyturn.core.errors import Invalid, Unavailable
from keyturn.core.ports.envelope import KEY_BYTES, DataKey, encode_context, refuse_key
from keyturn.core.sensitive import Sensitive
from keyturn.providers.answers import reads_answers
from keyturn.providers.keys.aes_gcm import fresh_key
from keyturn.providers.vault.client import Calls
from keyturn.settings.hub import HubSettings

PREFIX: Final = "vault:v"


@reads_answers("the transit engine")
class TransitDataKeys:
    """:class:`keyturn.core.ports.envelope.DataKeys` by one aes256-gcm96 or chacha20-poly1305 key, not derived.

    Sealed data cannot be opened without the hub.
    """

    kind = "transit"

    def __init__(self, settings: HubSettings, key: str, mount: str = "transit") -> None:
        self._calls = Calls(settings)
        self._encrypt = f"{mount}/encrypt/{key}"
        self._decrypt = f"{mount}/decrypt/{key}"
        self._name = f"{mount}/keys/{key}"

    def make(self, context: Mapping[str, str]) -> DataKey:
        key = fresh_key()
        body = {"plaintext": key.reveal(), "associated_data": _bound(context)}
        wrapped = str(self._post("encrypt with", self._encrypt, body)["ciphertext"])
        if not wrapped.startswith(PREFIX):
            raise self._unexpected()
        return DataKey(key, wrapped)

    def unwrap(self, wrapped: str, context: Mapping[str, str]) -> Sensitive:
        body = {"ciphertext": wrapped, "associated_data": _bound(context)}
        try:
            text = Sensitive(str(self._post("decrypt with", self._decrypt, body)["plaintext"]))
        except Invalid:
            raise refuse_key(self._name, "the hub refuses to unwrap the data key") from None
        if not _is_key(text):
            raise self._unexpected()
        return text

    def close(self) -> None:
        self._calls.close()

    def _post(self, doing: str, path: str, body: Mapping[str, str]) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self._calls.post(doing, self._name, path, body).json()["data"]
        return answer

    def _unexpected(self) -> Unavailable:
        problem = "the hub's answer is not what its transit engine gives"
        return Unavailable("use", self._name, problem, "Check VAULT_ADDR, and any proxy in between")


def _bound(context: Mapping[str, str]) -> str:
    return base64.b64encode(encode_context(context)).decode()


def _is_key(text: Sensitive) -> bool:
    try:
        return len(base64.b64decode(text.reveal(), validate=True)) == KEY_BYTES
    except ValueError:
        return False
