"""Formats of other services' tokens, and how to end a token of each; ``formats`` has one YAML file for each."""
