"""Who signs in: callers with permissions, and registered applications, whose secrets Microsoft Graph changes."""

import hmac
import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from local.emulators.azure_key_vault.auth import Application, Directory, SignIn
from local.emulators.azure_key_vault.messages import Refusal

OWNED_APPLICATIONS: Final = "Application.ReadWrite.OwnedBy"
"""The Graph permission that rotates the secrets of applications which the caller owns."""
ALL_APPLICATIONS: Final = "Application.ReadWrite.All"
READ_APPLICATIONS: Final = "Application.Read.All"

PERSONAL: Final = frozenset({"AzureADandPersonalMicrosoftAccount", "PersonalMicrosoftAccount"})
MOST_PERSONAL: Final = 2
MOST_ITEMS: Final = 1_000
"""Source of both: "Validation differences by supported account types"."""

NOT_TAKEN: Final = (7000215, "Invalid client secret provided. Ensure the secret being sent is the client secret value.")
EXPIRED: Final = (7000222, "The provided client secret keys are expired.")
NO_PRINCIPAL: Final = (7000229, "The client application is missing service principal in the tenant.")


@dataclass(frozen=True)
class Caller:
    """An application that may call the services: Graph permissions and ARM actions, by their own names."""

    client_id: str
    secret: str = field(repr=False)
    permissions: frozenset[str]


@dataclass
class Delays:
    """Seconds that the services take to agree with themselves: Entra ID with Graph, reads with writes, keys with ARM.

    ``listing`` is how long a listing of keys takes to be answered, and ``secrets``, ``reads`` and ``keys`` how long
    what was just made is not yet taken at the sign-in, not yet seen in Graph, not yet taken by the blob service;
    ``ended`` is how long both take what was just removed or regenerated.
    """

    secrets: float = 0
    reads: float = 0
    keys: float = 0
    listing: float = 0
    ended: float = 0


@dataclass
class Password:
    """One secret of an application; times are in seconds since 1970."""

    key_id: str
    secret: str = field(repr=False)
    name: str | None
    made: float
    start: str
    end: str

    def told(self, **more: Any) -> dict[str, Any]:
        """The resource ``passwordCredential``: its text only where ``more`` brings it."""
        return {
            "customKeyIdentifier": None,
            "displayName": self.name,
            "endDateTime": self.end,
            "hint": self.secret[:3],
            "keyId": self.key_id,
            "secretText": None,
            "startDateTime": self.start,
            **more,
        }


@dataclass
class Registration:
    """An application as it is registered; ``owners`` are the client ids that may change it when they own it."""

    owners: frozenset[str] = frozenset()
    audience: str = "AzureADMyOrg"
    principal: bool = True
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    app_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    passwords: list[Password] = field(default_factory=list, repr=False)
    removed: list[tuple[float, Password]] = field(default_factory=list, repr=False)

    def add(self, name: str | None, start: str, end: str, made: float) -> Password:
        """A new secret. Raises a refusal where there is no room for it."""
        if self.audience in PERSONAL and len(self.passwords) >= MOST_PERSONAL:
            message = f"Not allowed to add {MOST_PERSONAL + 1} passwords. You can only add {MOST_PERSONAL} passwords."
            raise Refusal(400, "TooManyAppPasswords", message)
        if len(self.passwords) >= MOST_ITEMS:
            message = "The size of the object has exceeded its limit. Please reduce the number of values."
            raise Refusal(400, "Directory_ResourceSizeExceeded", message)
        # Entra ID's secrets are 40 characters long: three at random, "8Q~", and the rest at random.
        text = f"{secrets.token_urlsafe(3)[:3]}8Q~{secrets.token_urlsafe(34)[:34]}"
        self.passwords.append(Password(str(uuid.uuid4()), text, name, made, start, end))
        return self.passwords[-1]

    def remove(self, password: Password, now: float) -> None:
        """Take a secret away; when that was stays known."""
        self.passwords.remove(password)
        self.removed.append((now, password))


class Entra(SignIn):
    """The sign-in of one tenant: callers, and the applications that are registered."""

    def __init__(self, tenant_id: str, callers: tuple[Caller, ...], delays: Delays, clock: Callable[[], float]) -> None:
        applications = tuple(
            Application(caller.client_id, caller.secret, " ".join(sorted(caller.permissions))) for caller in callers
        )
        super().__init__(Directory(tenant_id, applications), secrets.token_hex(32), clock)
        self.registrations: dict[str, Registration] = {}
        self._delays = delays
        self._now = clock

    def resources(self, base: str) -> tuple[str, ...]:
        """One address for all services."""
        return (base,)

    def application(self, client_id: str) -> Application | None:
        """A caller, or a registered application, which has no permissions of its own."""
        if client_id in self.registrations:
            return Application(client_id, "", "")
        return super().application(client_id)

    def refused_secret(self, client_id: str, secret: str) -> tuple[int, str] | None:
        """A registered application may have any number of secrets, some of them too new and some too old."""
        registration = self.registrations.get(client_id)
        if registration is None:
            return super().refused_secret(client_id, secret)
        if not registration.principal:
            return NO_PRINCIPAL
        for password in (*registration.passwords, *self._lingering(registration)):
            if hmac.compare_digest(password.secret.encode(), secret.encode()):
                return self._refused(password)
        return NOT_TAKEN

    def _lingering(self, registration: Registration) -> list[Password]:
        """Secrets that were removed so short a while ago that the sign-in has not heard of it."""
        return [password for at, password in registration.removed if self._now() < at + self._delays.ended]

    def _refused(self, password: Password) -> tuple[int, str] | None:
        if self._now() < password.made + self._delays.secrets:
            return NOT_TAKEN
        return EXPIRED if seconds(password.end) <= self._now() else None


def seconds(moment: str) -> float:
    """A moment in RFC 3339 as seconds since 1970. Raises ValueError."""
    return datetime.fromisoformat(moment).timestamp()


def stamp(moment: float) -> str:
    """Seconds since 1970 as the services write them."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def permitted(claims: Mapping[str, Any]) -> frozenset[str]:
    """What the bearer of a token may do."""
    return frozenset(str(claims["role"]).split())
