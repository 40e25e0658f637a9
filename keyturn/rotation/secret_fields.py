"""Which fields of a secret may grant access, and which are names and addresses."""

from typing import Final

from keyturn.core.ports.hub import HubSecret
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.naming import names_of

ROTATED_AT: Final = "rotated_at"
SHORTEST: Final = 4
"""Minimum characters of a secret text."""

ADDRESSES: Final = frozenset(
    (
        *("host", "hostname", "port", "url", "uri", "endpoint", "address", "region", "zone", "protocol", "scheme"),
        *("database", "dbname", "schema", "engine", "driver", "sslmode", "catalog", "warehouse", "queue", "topic"),
        *("bucket", "container", "project", "account", "tenant", "cluster", "namespace", "service"),
        *("algorithm", "key_type", "serial"),
    )
)
"""Fields with the place or kind of a credential."""
PRIVATE: Final = "PRIVATE KEY"
ADDRESS_ENDINGS: Final = ("_host", "_port", "_region", "_endpoint", "_address")


def secret_fields(workspace: Workspace, secret: HubSecret) -> dict[str, str]:
    """The fields of a version that may grant access, and their texts.

    All but names, addresses without a password, short words, certificates and public keys.
    """
    names = names_of(workspace.catalogue, workspace.hub, secret.path)
    public = {*workspace.secret(secret.path).public_fields, ROTATED_AT}
    revealed = {name: value.reveal() for name, value in secret.fields.items() if name not in public}
    texts = {name: text for name, text in revealed.items() if not is_public_pem(text)}
    made = {name for name in workspace.open_strategy(secret.path).credential_fields if name in texts}
    long = {name for name in made if len(texts[name]) > SHORTEST and not is_place(name)}
    inner = {texts[name] for name in long if not names.may_show(name, texts[name])}

    def is_public(name: str, text: str) -> bool:
        if any(credential in text for credential in inner):
            return False
        return (is_place(name) and "@" not in text) or len(text) < SHORTEST or names.may_show(name, text)

    return {name: text for name, text in texts.items() if not is_public(name, text)}


def is_place(name: str) -> bool:
    """Whether a field's name means an address or another property of a credential."""
    return name in ADDRESSES or name.endswith(ADDRESS_ENDINGS)


def is_public_pem(text: str) -> bool:
    """Whether a text is only certificates or public keys, in PEM (RFC 7468)."""
    return text.lstrip().startswith("-----BEGIN ") and PRIVATE not in text
