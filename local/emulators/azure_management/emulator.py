"""The services as one function from request to answer."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from local.emulators.azure_key_vault.messages import Answer, Refusal, Request
from local.emulators.azure_key_vault.throttle import Limits, Throttle
from local.emulators.azure_management.directory import Caller, Delays, Entra, Registration
from local.emulators.azure_management.graph import Graph
from local.emulators.azure_management.storage import Storage, StorageAccount
from local.emulators.azure_management.vaults import Vaults

API_VERSIONS: Final = ("2021-09-01", "2022-09-01", "2023-01-01", "2023-05-01", "2023-07-01", "2024-01-01", "2025-01-01")
UNSIGNED: Final = {"v1.0": "InvalidAuthenticationToken", "subscriptions": "AuthenticationFailed"}
"""What Graph and ARM call a token that is missing or not for them."""


class Emulator:
    """One tenant with its applications, and one subscription with its storage accounts, in memory.

    ``delays`` may be changed while it serves; ``clock`` tells the time in seconds since 1970.
    """

    def __init__(
        self,
        tenant_id: str,
        subscription: str,
        callers: tuple[Caller, ...],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.tenant_id = tenant_id
        self.delays = Delays()
        self.throttle = Throttle(Limits())
        self.sign_in = Entra(tenant_id, callers, self.delays, clock)
        self.graph = Graph(self.sign_in.registrations, self.delays, clock)
        self.storage = Storage(subscription, self.delays, clock)
        self.vaults = Vaults(subscription)
        self._lock = threading.Lock()

    def register(self, registration: Registration) -> Registration:
        """Add an application to the directory."""
        self.sign_in.registrations[registration.app_id] = registration
        return registration

    def create(self, account: StorageAccount) -> StorageAccount:
        """Add a storage account to the subscription."""
        self.storage.accounts[account.name] = account
        return account

    def close(self) -> None:
        """Nothing is held outside of the process."""

    def answer(self, request: Request) -> Answer:
        """The answer to any call; refusals are answers too."""
        if self.sign_in.serves(request):
            return self.sign_in.answer(request)
        try:
            return self._service(request, request.parts[0] if request.parts else "")
        except Refusal as refusal:
            return refusal.answer

    def _service(self, request: Request, service: str) -> Answer:
        if service in ("blob", "file"):
            return self.storage.serve(request)
        if service not in UNSIGNED:
            raise Refusal(404, "NotFound", "The requested resource does not exist.")
        claims = self._claims(request, service)
        self._admit()
        if service == "subscriptions":
            check_api_version(request)
            return self.vaults.manage(request, claims) or self.storage.manage(request, claims)
        with self._lock:
            return self.graph.answer(request, claims)

    def _claims(self, request: Request, service: str) -> Mapping[str, Any]:
        try:
            return self.sign_in.bearer(request)
        except Refusal as refusal:
            challenge = refusal.answer.headers
            message = "Access token is missing, has expired, or is not for this audience."
            raise Refusal(401, UNSIGNED[service], message, headers=challenge) from None

    def _admit(self) -> None:
        try:
            self.throttle.admit(creates=False)
        except Refusal as refusal:
            headers = refusal.answer.headers
            raise Refusal(429, "TooManyRequests", "Too many requests were received.", headers=headers) from None


def check_api_version(request: Request) -> None:
    """Refuse a call to ARM that does not say which version of the interface it means."""
    version = request.query.get("api-version")
    if version is None:
        message = "The api-version query parameter (?api-version=) is required for all requests."
        raise Refusal(400, "MissingApiVersionParameter", message)
    if version not in API_VERSIONS:
        message = f"No registered resource provider found for API version '{version}'."
        raise Refusal(400, "NoRegisteredProviderFound", message)
