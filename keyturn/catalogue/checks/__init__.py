"""Checks of the whole catalogue: references between entries, rules, times and permissions."""
