"""Verification of the trail against logs and the ledger, and proofs of single events."""
