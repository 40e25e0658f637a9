"""What belongs to whom: a project's end."""
