"""Hub recovery: backups, restores and restore drills."""
