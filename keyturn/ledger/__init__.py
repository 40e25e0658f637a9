"""The ledger: what was done, in a form that nobody can change without being found out."""
