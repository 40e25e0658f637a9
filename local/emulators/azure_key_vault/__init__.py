"""Azure Key Vault on loopback: one vault and the sign-in that its clients need, for unmodified Azure SDKs.

Behaves as the service is documented: "Azure Key Vault REST API reference" (secrets and keys), "Azure Key
Vault soft-delete overview", "Azure Key Vault throttling guidance", "Authentication, requests and responses",
and, for the sign-in, "OAuth 2.0 client credentials flow" and "How to use managed identities for App Service".
"""

from local.emulators.azure_key_vault.auth import (
    ADMINISTRATOR,
    SECRETS_OFFICER,
    SECRETS_USER,
    Application,
    Directory,
)
from local.emulators.azure_key_vault.emulator import Emulator
from local.emulators.azure_key_vault.server import Server
from local.emulators.azure_key_vault.throttle import Limits

__all__ = [
    "ADMINISTRATOR",
    "SECRETS_OFFICER",
    "SECRETS_USER",
    "Application",
    "Directory",
    "Emulator",
    "Limits",
    "Server",
]
