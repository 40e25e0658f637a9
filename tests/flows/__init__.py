"""The runbooks against the real Prefect server, hub, database and stores."""
