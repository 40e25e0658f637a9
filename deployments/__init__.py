"""What an operator runs and edits."""
