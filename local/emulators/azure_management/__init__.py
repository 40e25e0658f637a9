"""Microsoft Graph, Azure Resource Manager and a storage account on loopback, with the sign-in that they need.

Only what rotating applications' secrets and accounts' keys takes, as it is documented: "application: addPassword"
and "removePassword" (Microsoft Graph v1.0), "Storage Accounts: Get Properties, List Keys, Regenerate Key" (storage
resource provider), "Authorize with Shared Key" (storage services), and "OAuth 2.0 client credentials flow". An
application's secrets are taken by the sign-in, and an account's keys by its blob service. Nothing outlives the
process.
"""

from local.emulators.azure_management.directory import (
    OWNED_APPLICATIONS,
    Caller,
    Delays,
    Registration,
)
from local.emulators.azure_management.emulator import Emulator
from local.emulators.azure_management.server import AzureManagement
from local.emulators.azure_management.storage import KEY_ROTATION, StorageAccount

__all__ = [
    "KEY_ROTATION",
    "OWNED_APPLICATIONS",
    "AzureManagement",
    "Caller",
    "Delays",
    "Emulator",
    "Registration",
    "StorageAccount",
]
