"""Commands for the catalogue and for compliance reports."""
