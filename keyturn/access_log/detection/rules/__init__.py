"""Detection rules beyond the scores, one per file."""
