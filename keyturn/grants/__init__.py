"""Temporary access to secrets: requests, approvals, delivery, and proofs."""
