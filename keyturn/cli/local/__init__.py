"""Commands for the local stack."""
