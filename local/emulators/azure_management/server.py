"""The services at one address, ready to be signed in to."""

import secrets
import uuid
from pathlib import Path
from typing import Final

from local.emulators.azure_key_vault.server import Server
from local.emulators.azure_management.directory import OWNED_APPLICATIONS, Caller
from local.emulators.azure_management.emulator import Emulator
from local.emulators.azure_management.storage import KEY_ROTATION
from local.support.tls import certificate_in

KEYTURN: Final = "keyturn"
"""The client id of the caller that may rotate everything."""


class AzureManagement:
    """Serves an emulator at ``https://localhost:port`` while it is entered, with a certificate of its own.

    The caller ``keyturn`` may rotate the secrets of applications that it owns, and the keys of every account;
    ``callers`` are others. ``directory`` keeps the certificate.
    """

    def __init__(self, directory: Path, port: int = 0, callers: tuple[Caller, ...] = ()) -> None:
        self.tenant_id = str(uuid.uuid4())
        self.subscription = str(uuid.uuid4())
        workspace = Caller(KEYTURN, secrets.token_urlsafe(30), frozenset({OWNED_APPLICATIONS}) | KEY_ROTATION)
        self.callers = {caller.client_id: caller for caller in (workspace, *callers)}
        self.emulator = Emulator(self.tenant_id, self.subscription, tuple(self.callers.values()))
        self._certificate = certificate_in(directory)
        self._port = port

    def __enter__(self) -> "AzureManagement":
        self._server = Server(self.emulator, self._certificate.certificate, self._certificate.key, self._port)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def url(self) -> str:
        """The address of sign-in, Graph and Azure Resource Manager alike."""
        return self._server.url

    @property
    def ca_file(self) -> str:
        """The PEM file with the authority to trust it by."""
        return str(self._certificate.authority)

    def environment(self, client_id: str = KEYTURN) -> dict[str, str]:
        """What Azure's SDKs sign in with as that caller."""
        caller = self.callers[client_id]
        return {
            "AZURE_TENANT_ID": self.tenant_id,
            "AZURE_CLIENT_ID": caller.client_id,
            "AZURE_CLIENT_SECRET": caller.secret,
        }
