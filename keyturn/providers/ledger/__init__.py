"""Where the ledger is kept, and where its entries are forwarded to."""
