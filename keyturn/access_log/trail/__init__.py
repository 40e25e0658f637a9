"""The access trail: every logged access, in segments that are sealed in the ledger."""
