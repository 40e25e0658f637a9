"""Programs and settings for operators."""
