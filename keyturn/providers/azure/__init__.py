"""Azure: Key Vault, Microsoft Graph, Resource Manager and Service Bus."""
