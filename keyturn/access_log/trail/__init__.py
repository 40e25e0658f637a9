"""The access trail: every access that a log told of, kept in segments that the ledger vouches for."""
