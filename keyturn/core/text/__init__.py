"""Text: parsing, templates, formatting and patterns."""
