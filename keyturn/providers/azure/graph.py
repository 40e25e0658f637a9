"""Client secrets of applications in Microsoft Graph, tested at Entra ID's sign-in.

A new secret is refused for seconds, sometimes minutes, and reads lag behind writes. So a missing or refused secret is
checked several times.
"""

import hmac
import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

import requests
from azure.core.credentials import TokenCredential

from keyturn.core.errors import CandidateRejected, Denied, Invalid, KeyturnError, NotFound, Throttled, Unavailable
from keyturn.core.sensitive import Sensitive
from keyturn.providers.azure import client as azure
from keyturn.providers.azure.rest import Refused, Rest, document_of, retry_after, send

PUBLIC: Final = "https://graph.microsoft.com"
PUBLIC_SIGN_IN: Final = "https://login.microsoftonline.com"

PERMISSION: Final = (
    "Give Keyturn's identity the Graph application permission Application.ReadWrite.OwnedBy, with an administrator's "
    "consent, and make it an owner of this application"
)
WHICH_ID: Final = "Name it by its application (client) id, not by its object id, and check the tenant"
PERSONAL: Final = frozenset({"AzureADandPersonalMicrosoftAccount", "PersonalMicrosoftAccount"})
MOST_PERSONAL: Final = 2
MOST_ITEMS: Final = 1_000
"""Source: "Validation differences by supported account types" (Microsoft identity platform)."""
TOO_MANY: Final = frozenset({"TooManyAppPasswords", "Directory_ResourceSizeExceeded"})
POLICY: Final = re.compile(r"Credential\w+AsPerAppPolicy")
NOT_TAKEN: Final = 7000215
"""The secret is wrong, or not yet known to the sign-in."""
EXPIRED: Final = 7000222
NO_PRINCIPAL: Final = frozenset({700016, 7000229})
LOGIN_PAUSES: Final = (1, 2, 3, 5, 8, 13, 18)
"""Seconds between sign-in attempts; in all below a minute, after which another worker may take over."""
ABSENCE_PAUSES: Final = (2, 5)
"""Seconds between attempts to remove a secret that Graph does not know yet."""
LONGEST_DELAY: Final = timedelta(hours=1)


@dataclass(frozen=True)
class Password:
    """``hint`` is the beginning of the value."""

    key_id: str
    name: str
    hint: str
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Application:
    passwords: tuple[Password, ...]
    room: int


class MicrosoftGraph:
    """One directory; applications are named by their application (client) id.

    ``tenant`` is an id or domain, by default AZURE_TENANT_ID. Raises Invalid without a tenant.
    """

    def __init__(
        self,
        name: str,
        *,
        endpoint: str = PUBLIC,
        tenant: str | None = None,
        authority: str | None = None,
        ca_file: str | None = None,
        credential: TokenCredential | None = None,
        login_pauses: Sequence[float] = LOGIN_PAUSES,
        absence_pauses: Sequence[float] = ABSENCE_PAUSES,
    ) -> None:
        tenant = tenant or os.environ.get(azure.OWN_SIGN_IN[0])
        if not tenant:
            hint = f"Write tenant into the target, or set {azure.OWN_SIGN_IN[0]}"
            raise Invalid("open", name, "nothing says which directory to sign in to", hint)
        self.name = name
        self._rest = Rest(
            name, endpoint, authority=authority, ca_file=ca_file, credential=credential, permission=PERMISSION
        )
        self._sign_in = f"{(authority or PUBLIC_SIGN_IN).rstrip('/')}/{quote(tenant, safe='')}/oauth2/v2.0/token"
        self._login_pauses = tuple(login_pauses)
        self._absence_pauses = tuple(absence_pauses)

    def application(self, application: str) -> Application:
        """Raises NotFound, Denied."""
        query = {"$select": "appId,signInAudience,passwordCredentials"}
        try:
            answer = self._rest.call(
                "GET", application_path(application), "read the secrets of", application, query=query
            )
            passwords = tuple(parse_password(entry) for entry in answer["passwordCredentials"])
            most = MOST_PERSONAL if answer["signInAudience"] in PERSONAL else MOST_ITEMS
            return Application(passwords, max(most - len(passwords), 0))
        except NotFound as error:
            raise NotFound(error.doing, error.name, "the directory has no such application", WHICH_ID) from None
        except (KeyError, TypeError, ValueError):
            problem = "the description of the application can't be understood"
            raise Unavailable("read the secrets of", f"{self.name}:{application}", problem) from None

    def add_password(self, application: str, label: str, end: datetime) -> tuple[Password, Sensitive]:
        """Raises Invalid if there is no room for it, or the tenant's policy forbids it."""
        doing, about = "add a secret to", application
        wanted = {"displayName": label, "endDateTime": end.astimezone(UTC).isoformat().replace("+00:00", "Z")}
        try:
            made = self._rest.call(
                "POST",
                f"{application_path(application)}/addPassword",
                doing,
                about,
                document={"passwordCredential": wanted},
            )
            return parse_password(made), Sensitive(str(made["secretText"]))
        except NotFound as error:
            raise NotFound(error.doing, error.name, "the directory has no such application", WHICH_ID) from None
        except Refused as error:
            raise explained(error) from None
        except (KeyError, TypeError, ValueError):
            problem = "the new secret can't be found in the answer"
            raise Unavailable(doing, f"{self.name}:{about}", problem, "It is removed by the next run") from None

    def remove_password(self, application: str, key_id: str, *, fresh: bool = True) -> None:
        """Absent is success; for a ``fresh`` secret only after several attempts.

        Raises NotFound if the application is deleted, because restoring it restores its secrets.
        """
        path = f"{application_path(application)}/removePassword"
        for pause in (*(self._absence_pauses if fresh else ()), None):
            with suppress(NotFound, Refused):
                self._rest.call("POST", path, "remove a secret of", application, document={"keyId": key_id})
                return
            if pause is not None:
                time.sleep(pause)
        if any(password.key_id == key_id for password in self.application(application).passwords):
            problem = "Graph lists the secret and does not remove it"
            raise Unavailable("remove a secret of", f"{self.name}:{application}", problem, "Run it again in a minute")

    def check_login(self, application: str, key_id: str, secret: Sensitive, now: datetime) -> None:
        """Sign in with ``secret``, with retries while it may be too new.

        Raises CandidateRejected if it expired, was removed, does not belong to ``key_id``, or is too old to be late.
        Raises Unavailable while it may still work later.
        """
        if self._signs_in(application, secret):
            return
        self._check_worth_waiting(application, key_id, secret, now, late=False)
        for pause in self._login_pauses:
            time.sleep(pause)
            if self._signs_in(application, secret):
                return
        self._check_worth_waiting(application, key_id, secret, now, late=True)
        hint = "Run it again in some minutes: it continues with the same secret"
        raise Unavailable("sign in as", f"{self.name}:{application}", "the sign-in does not know the secret yet", hint)

    def takes(self, application: str, secret: Sensitive) -> bool:
        """Whether the sign-in accepts ``secret``; False if it expired. Raises any other refusal."""
        try:
            return self._signs_in(application, secret)
        except CandidateRejected:
            return False

    def reach(self) -> None:
        """Sign in; a token shows nothing of its permissions."""
        self._rest.token("sign in to", self.name)

    def close(self) -> None:
        self._rest.close()

    def _signs_in(self, application: str, secret: Sensitive) -> bool:
        doing, name = "sign in as", f"{self.name}:{application}"
        form = {"grant_type": "client_credentials", "client_id": application, "scope": self._rest.scope}
        answer = send(
            self._rest.session, doing, name, "POST", self._sign_in, data={**form, "client_secret": secret.reveal()}
        )
        if answer.status_code == 200 and "access_token" in document_of(answer, doing, name):
            return True
        numbers = reasons(answer, doing, name)
        if NOT_TAKEN in numbers:
            return False
        raise login_refused(answer, numbers, doing, name)

    def _check_worth_waiting(
        self, application: str, key_id: str, secret: Sensitive, now: datetime, *, late: bool
    ) -> None:
        password = next((listed for listed in self.application(application).passwords if listed.key_id == key_id), None)
        problem = None
        if password is None:
            problem = "the secret has been removed from the application" if late else None
        elif not hmac.compare_digest(secret.reveal()[: len(password.hint)].encode(), password.hint.encode()):
            problem = "the secret is not the one that belongs to its key id"
        elif now - password.start > LONGEST_DELAY:
            problem = f"the sign-in still refuses the secret, made more than {LONGEST_DELAY} ago"
        if problem:
            raise rejected(problem, f"{self.name}:{application}")


def application_path(application: str) -> str:
    return f"v1.0/applications(appId='{quote(application, safe='')}')"


def parse_password(entry: Mapping[str, Any]) -> Password:
    start, end = (datetime.fromisoformat(entry[name]) for name in ("startDateTime", "endDateTime"))
    return Password(entry["keyId"], entry.get("displayName") or "", entry.get("hint") or "", start, end)


def explained(error: Refused) -> Invalid:
    if error.code in TOO_MANY:
        hint = "Remove unused secrets of the application"
        return Invalid(error.doing, error.name, "the application can't hold one more secret", hint)
    if POLICY.fullmatch(error.code):
        hint = "Shorten life in the secret's rotation, or except the application from the tenant's policy"
        return Invalid(error.doing, error.name, "the tenant's policy for credentials forbids this secret", hint)
    return error


def reasons(answer: requests.Response, doing: str, name: str) -> list[int]:
    if answer.status_code >= 500 or answer.status_code in (408, 429):
        return []
    codes = document_of(answer, doing, name).get("error_codes")
    return [code for code in codes if isinstance(code, int)] if isinstance(codes, list) else []


def login_refused(answer: requests.Response, numbers: Sequence[int], doing: str, name: str) -> KeyturnError:
    problem = f"Entra ID answered {answer.status_code}" + "".join(f" (AADSTS{number})" for number in numbers)
    if answer.status_code == 429:
        return Throttled(doing, name, problem, "Slow down", retry_after(answer))
    if answer.status_code == 408 or answer.status_code >= 500:
        return Unavailable(doing, name, problem)
    if EXPIRED in numbers:
        return rejected("the secret has expired (AADSTS7000222)", name)
    if NO_PRINCIPAL & set(numbers):
        hint = "Check the tenant, and that the application has a service principal: az ad sp create --id APPLICATION"
        return Invalid(doing, name, f"{problem}: the application can't sign in to this directory", hint)
    return Denied(doing, name, problem, "See what the sign-in logs say: a policy, or an application that is disabled")


def rejected(problem: str, name: str) -> CandidateRejected:
    return CandidateRejected("sign in as", name, problem, "Run the rotation again: it makes another secret")
