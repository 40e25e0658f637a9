"""What serves many programs of a host, or of a region, from one client: see ``keyturn agent`` and docs/agent.md."""
