"""Tests of the adapters of ledger."""
