"""A key of the hub's transit engine."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, WithJsonSchema, model_validator

from keyturn.core.rights.rights import HubPlaces, Section, allow
from keyturn.settings.fields import Duration, HubPath, illegal_secret, refused
from keyturn.settings.keys import KeyBase

OWN_KEYS = "keyturn-"
"""The prefix of Keyturn's own keys: the ledger's and those for people's approvals."""


def _key_name(name: str) -> str:
    if name.lower().startswith(OWN_KEYS):
        raise refused("is a key of Keyturn's own", "Leave it out: `keyturn due` shows its state.")
    return name


def _secret(path: str) -> str:
    if flaw := illegal_secret(path):
        raise refused(*flaw)
    return path


TransitKeyName = Annotated[
    HubPath,
    AfterValidator(_key_name),
    WithJsonSchema({"type": "string", "pattern": r"^(?![Kk][Ee][Yy][Tt][Uu][Rr][Nn]-)[A-Za-z0-9_.-]+$"}),
]
SecretName = Annotated[str, AfterValidator(_secret), WithJsonSchema({"type": "string", "minLength": 1})]


class TransitKeySettings(KeyBase):
    """A key of the transit engine of Vault or OpenBao: encryption, signatures, HMACs."""

    kind: Literal["transit"]
    """The kind of key."""
    key: TransitKeyName
    """The key's name in the engine. Keyturn's own keys, with the prefix keyturn-, are not allowed."""
    rewraps: tuple[SecretName, ...] = ()
    """The hub's secrets with fields that this key has encrypted, to rewrap after its rotation."""
    grace: Duration | None = None
    """The time after a rotation in which the previous version can still decrypt and verify; by default, without
    limit."""

    ADAPTER = "keyturn.providers.vault.engines.transit_keys:open_transit_key"
    OWN = KeyBase.OWN | {"rewraps", "grace"}

    @model_validator(mode="after")
    def _one_level(self) -> Self:
        if "/" in self.key:
            raise refused("is no name of a key", "Write the name alone, without its mount.", "key")
        if len(set(self.rewraps)) < len(self.rewraps):
            raise refused("names a secret twice", "Name it once.", "rewraps")
        return self

    @property
    def place(self) -> str:
        return f"transit {self.key}"

    def hub_rights(self, places: HubPlaces) -> Iterator[Section]:
        """Rotation, rewrapping and the minimum version: no encryption, no decryption, no other settings."""
        base = places.transit_mount
        yield Section(
            "The keys that the catalogue has managed: rotate them, rewrap what they have encrypted, and put old"
            " generations out of use. Nothing is read with them, and nothing else of them is changed.",
            (
                allow(f"{base}/keys/{self.key}", "read"),
                allow(f"{base}/keys/{self.key}/rotate", "update"),
                allow(f"{base}/keys/{self.key}/config", "update", min_decryption_version=()),
                allow(f"{base}/rewrap/{self.key}", "update"),
            ),
        )
