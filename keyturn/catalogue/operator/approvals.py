"""What a site wants a second person for, and who that may be."""

import base64
import binascii
import re
from collections import Counter
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

AUTH_METHOD: Final = r"([A-Za-z0-9._-]+/)*auth/(?!token$)[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*"
AuthMethod = Annotated[
    Line, matching(AUTH_METHOD, "is no auth method of people", "Write its path, such as auth/oidc or red/auth/ldap.")
]

PERSONAL: Final = re.compile(r"login/[^/]+|oidc/(callback|poll)|saml/(callback|token)")
"""What follows the method in the path of a login that a person made: OIDC, SAML, LDAP, userpass, Okta, RADIUS.

The login of a program (AppRole, Kubernetes, JWT, a cloud, a certificate) has ``login`` alone there.
Source: the API pages of Vault's and OpenBao's auth methods.
"""


class ApproverSettings(Model):
    """A person who may approve what others ask for."""

    entity: Line
    """The id of their entity in the hub, as `vault read identity/entity/name/NAME` shows it."""
    key: KeyName | None = None
    """The name of their key in the hub's transit engine; without it they sign with a key file."""
    public_key: PublicKey
    """The public half of the key that they sign with. Keyturn does not ask the hub for it."""


class ApprovalSettings(Model):
    """What needs a second person. Without any of it nothing does."""

    people: tuple[AuthMethod, ...] = ()
    """Auth methods of the hub that people log in with, each with one account for each person. Of a JWT method that
    logs in people alone, name the login itself: ``auth/staff/login``."""
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

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        named = [who.entity for who in self.approvers.values()]
        named += [base64.b64decode(who.public_key).hex() for who in self.approvers.values()]
        if any(count > 1 for count in Counter(named).values()):
            remedy = "Name each person once, with their own entity and key."
            raise refused("name one entity or one key twice", remedy, "approvers")
        return self

    def is_persons(self, login: str) -> bool:
        """Whether a person made this login, by its path in the hub, such as ``auth/oidc/oidc/callback``."""
        rests = (login.removeprefix(f"{method}/") for method in self.people if login.startswith(f"{method}/"))
        return login in self.people or any(PERSONAL.fullmatch(rest) for rest in rests)

    def knows(self, entity: str, login: str) -> bool:
        """Whether the login says which person this is.

        With several methods one person may have several entities, so only those count that ``approvers`` names.
        """
        named = any(who.entity == entity for who in self.approvers.values())
        return bool(entity) and self.is_persons(login) and (len(self.people) == 1 or named)
