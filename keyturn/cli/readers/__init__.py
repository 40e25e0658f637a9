"""Commands that show who read what: investigate, monitor, trail and unused."""
