"""Requests to services with a credential that their callers never hold (``keyturn proxy``, docs/agents.md)."""
