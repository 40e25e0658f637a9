"""One client for many programs of a host or region (``keyturn agent``, docs/agent.md)."""
