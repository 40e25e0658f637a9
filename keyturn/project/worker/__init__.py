"""The Prefect worker of type `keyturn`: forked runs, wake-ups and metrics."""
