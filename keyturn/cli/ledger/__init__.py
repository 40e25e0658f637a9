"""Commands for the ledger."""
