"""Actions that need a second person's approval, and the approvers."""

import base64
import binascii
import re
from collections import Counter
from datetime import timedelta
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from keyturn.settings.fields import Line, Model, PositiveDuration, matching, refused

KEY_BYTES: Final = 32
"""The length of an Ed25519 public key (RFC 8032)."""


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
"""The path after the method for a person's login: OIDC, SAML, LDAP, userpass, Okta, RADIUS. For programs (AppRole,
Kubernetes, JWT, a cloud, a certificate) it is only ``login``. Source: the API pages of Vault's and OpenBao's auth
methods."""


class ApproverSettings(Model):
    """A person who may approve requests of others."""

    entity: Line
    """The id of the person's entity in the hub, as `vault read identity/entity/name/NAME` shows it."""
    key: KeyName | None = None
    """The name of the person's key in the hub's transit engine; by default, the person signs with a key file."""
    public_key: PublicKey
    """The public half of the signing key. Keyturn does not read it from the hub."""


class ApprovalSettings(Model):
    """Actions that need a second person. None by default."""

    people: tuple[AuthMethod, ...] = ()
    """Auth methods of the hub for people, with one account per person in each. For a JWT method that only people use,
    name the login itself: ``auth/staff/login``."""
    approvers: dict[str, ApproverSettings] = Field(default_factory=dict)
    """The approvers, by the names that people use."""
    incidents_over: Annotated[int, Field(ge=1)] | None = None
    """Incidents over more secrets and leases than this."""
    revoke_only: bool = False
    """Incidents that only revoke, without a replacement."""
    give_up: bool = False
    """Closing an incident with unfinished work."""
    end_previous: bool = False
    """Ending the previous credential regardless of its users: --end-previous, and waiving everything."""
    valid_for: PositiveDuration = timedelta(hours=1)
    """The time after a request in which it may be approved and carried out."""

    @model_validator(mode="after")
    def _somebody_may(self) -> Self:
        asks = self.revoke_only or self.give_up or self.end_previous or self.incidents_over is not None
        if asks and not self.approvers:
            raise refused(
                "needs a second person, and no one is allowed to be one", "Name some under approvers.", "approvers"
            )
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
        """Whether the login path is a person's, such as ``auth/oidc/oidc/callback``."""
        rests = (login.removeprefix(f"{method}/") for method in self.people if login.startswith(f"{method}/"))
        return login in self.people or any(PERSONAL.fullmatch(rest) for rest in rests)

    def knows(self, entity: str, login: str) -> bool:
        """Whether the login identifies the person.

        With several methods, a person may have several entities, so only those in ``approvers`` count.
        """
        named = any(who.entity == entity for who in self.approvers.values())
        return bool(entity) and self.is_persons(login) and (len(self.people) == 1 or named)
