"""Incidents: their state in the hub, limits, consent, announcements and later checks."""
