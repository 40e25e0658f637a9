"""The metrics that `keyturn serve` publishes."""
