"""What brings a hub back: backups of it, restoring them, and trying out that this works."""
