"""Evidence for auditors that nobody types: what a framework asks, what was found, and rows that can be proven."""
