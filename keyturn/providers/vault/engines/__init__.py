"""Secrets engines of Vault and OpenBao: database, PKI and transit."""
