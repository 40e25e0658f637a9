"""The steps that flows chain: each opens its workspace, works, and returns names."""
