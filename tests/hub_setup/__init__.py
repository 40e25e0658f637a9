"""Setting up a hub: what is needed, what is lacking, and making it."""
