"""Checks of the trail: against its logs, against the ledger, and proofs of single events."""
