"""The steps that flows chain: each opens what it needs by name, works, and returns names."""
