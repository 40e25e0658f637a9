"""What a site wants a second person for, and who that may be."""

import base64
import binascii
from datetime import timedelta
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from keyturn.settings.fields import Line, Model, PositiveDuration, matching, refused

KEY_BYTES: Final = 32
"""Of an Ed25519 public key (RFC 8032)."""


def _public_key(text: str) -> str:
    try:
        size = len(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if size != KEY_BYTES:
        remedy = "Write what `vault read transit/keys/NAME` shows as public_key of a key of type ed25519."
        raise refused("is no Ed25519 public key in base64", remedy)
    return text


PublicKey = Annotated[str, AfterValidator(_public_key), WithJsonSchema({"type": "string", "minLength": 44})]
KeyName = Annotated[Line, matching(r"[A-Za-z0-9._-]+", "is no name of a key", "Write the key's name alone.")]


class ApproverSettings(Model):
    """Somebody who may approve what others ask for."""

    entity: Line
    """The id of their entity in the hub, as `vault read identity/entity/name/NAME` shows it."""
    key: KeyName
    """The name of their key in the hub's transit engine, which only they may sign with."""
    public_key: PublicKey
    """Its public half, which signatures are verified with: the hub is not asked for it."""


class ApprovalSettings(Model):
    """What needs a second person. Without any of it nothing does."""

    approvers: dict[str, ApproverSettings] = Field(default_factory=dict)
    """Who may approve, by the names that people know them by."""
    incidents_over: Annotated[int, Field(ge=1)] | None = None
    """Incidents over more secrets and leases than this."""
    revoke_only: bool = False
    """Incidents that put nothing in the place of what they end."""
    give_up: bool = False
    """Closing an incident with things left."""
    end_previous: bool = False
    """Ending the credential before a rotation whoever uses it: --end-previous, and waiving everything."""
    valid_for: PositiveDuration = timedelta(hours=1)
    """How long after it was asked for something may be approved, and done."""

    @model_validator(mode="after")
    def _somebody_may(self) -> Self:
        asks = self.revoke_only or self.give_up or self.end_previous or self.incidents_over is not None
        if asks and not self.approvers:
            raise refused("asks for a second person, and nobody may be one", "Name some under approvers.", "approvers")
        return self
