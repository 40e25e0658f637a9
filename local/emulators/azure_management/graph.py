"""The calls of Microsoft Graph for one application: read it, add a secret, remove one."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from local.emulators.azure_key_vault.messages import Answer, Refusal, Request
from local.emulators.azure_management.directory import (
    ALL_APPLICATIONS,
    OWNED_APPLICATIONS,
    READ_APPLICATIONS,
    Delays,
    Password,
    Registration,
    permitted,
    seconds,
    stamp,
)

BY_APP_ID: Final = re.compile(r"applications\(appId='([^']+)'\)")
TWO_YEARS: Final = 2 * 365 * 86_400
"""How long a secret lives whose end is not asked for, in seconds."""

DENIED: Final = "Insufficient privileges to complete the operation."


class Graph:
    """Everything under ``/v1.0``. ``longest`` is how many seconds a secret may live by the tenant's policy."""

    def __init__(self, registrations: dict[str, Registration], delays: Delays, clock: Callable[[], float]) -> None:
        self._registrations = registrations
        self._delays = delays
        self._clock = clock
        self.longest: float | None = None

    def answer(self, request: Request, claims: Mapping[str, Any]) -> Answer:
        """The answer to a call of that bearer. Raises a refusal."""
        registration, action = self._find(request.parts[1:])
        match request.method, action:
            case "GET", ():
                self._allow(claims, registration, reading=True)
                return self._read(request, registration)
            case "POST", ("addPassword",):
                self._allow(claims, registration)
                return self._add(document(request).get("passwordCredential") or {}, registration)
            case "POST", ("removePassword",):
                self._allow(claims, registration)
                return self._remove(document(request), registration)
        raise Refusal(405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")

    def _find(self, parts: tuple[str, ...]) -> tuple[Registration, tuple[str, ...]]:
        if parts and (named := BY_APP_ID.fullmatch(parts[0])):
            registration, action = self._registrations.get(named[1]), parts[1:]
        else:
            registrations = {entry.id: entry for entry in self._registrations.values()}
            registration, action = registrations.get(parts[1] if len(parts) > 1 else ""), parts[2:]
        if registration is None:
            name = named[1] if parts and (named := BY_APP_ID.fullmatch(parts[0])) else "/".join(parts[1:2])
            message = f"Resource '{name}' does not exist or one of its queried reference-property objects are not here."
            raise Refusal(404, "Request_ResourceNotFound", message)
        return registration, action

    def _allow(self, claims: Mapping[str, Any], registration: Registration, *, reading: bool = False) -> None:
        held = permitted(claims)
        owned = OWNED_APPLICATIONS in held and claims["appid"] in registration.owners
        if not (owned or ALL_APPLICATIONS in held or (reading and READ_APPLICATIONS in held)):
            raise Refusal(403, "Authorization_RequestDenied", DENIED)

    def _seen(self, registration: Registration) -> list[Password]:
        """The secrets that this replica of the directory knows already."""
        return [password for password in registration.passwords if password.made + self._delays.reads <= self._clock()]

    def _read(self, request: Request, registration: Registration) -> Answer:
        whole = {
            "id": registration.id,
            "appId": registration.app_id,
            "signInAudience": registration.audience,
            "passwordCredentials": [password.told() for password in self._seen(registration)],
            "keyCredentials": [],
        }
        selected = request.query.get("$select")
        chosen = selected.split(",") if selected else list(whole)
        if unknown := [name for name in chosen if name not in whole]:
            raise Refusal(400, "Request_BadRequest", f"Could not find a property named '{unknown[0]}' on the type.")
        context = f"{request.base}/v1.0/$metadata#applications/$entity"
        return Answer({"@odata.context": context, **{name: whole[name] for name in chosen}})

    def _add(self, document: Mapping[str, Any], registration: Registration) -> Answer:
        now = self._clock()
        start = str(document.get("startDateTime") or stamp(now))
        end = str(document.get("endDateTime") or stamp(now + TWO_YEARS))
        try:
            life = seconds(end) - seconds(start)
        except ValueError:
            raise Refusal(400, "Request_BadRequest", "Cannot convert the literal to the type 'DateTime'.") from None
        if life <= 0:
            raise Refusal(400, "Request_BadRequest", "The end date of the credential is before its start date.")
        if self.longest is not None and life > self.longest:
            message = "Credential lifetime exceeds the max value allowed as per assigned policy."
            raise Refusal(400, "CredentialInvalidLifetimeAsPerAppPolicy", message)
        password = registration.add(document.get("displayName"), start, end, now)
        return Answer(password.told(secretText=password.secret))

    def _remove(self, document: Mapping[str, Any], registration: Registration) -> Answer:
        matching = [password for password in self._seen(registration) if password.key_id == document.get("keyId")]
        if not matching:
            message = f"No password credential found with keyId '{document.get('keyId')}'."
            raise Refusal(400, "Request_BadRequest", message)
        registration.remove(matching[0], self._clock())
        return Answer(None, 204)


def document(request: Request) -> dict[str, Any]:
    """The JSON object in the body. Raises a refusal in Graph's and ARM's words."""
    try:
        return request.document()
    except Refusal:
        raise Refusal(400, "BadRequest", "Unable to read JSON request payload.") from None
