"""GitHub Actions' secrets and variables as a store."""
