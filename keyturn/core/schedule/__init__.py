"""When a secret is rotated: causes, windows, freezes and cron expressions."""
