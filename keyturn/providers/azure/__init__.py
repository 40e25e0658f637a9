"""Azure: Key Vault, and what Microsoft Graph and the Resource Manager honour."""
