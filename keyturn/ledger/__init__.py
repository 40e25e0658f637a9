"""The ledger: a tamper-evident record of actions."""
