"""Commands that set up an installation: contexts, logins, hub, Prefect, stores and targets."""
