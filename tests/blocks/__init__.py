"""The blocks against the real Prefect server."""
