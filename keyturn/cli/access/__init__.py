"""Commands for just-in-time access."""
