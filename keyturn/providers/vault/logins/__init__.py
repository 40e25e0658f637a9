"""The ways to log in to a hub; their settings are in :mod:`keyturn.settings.hub_login`."""
