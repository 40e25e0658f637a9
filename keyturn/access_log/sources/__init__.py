"""The logs that are read as they grow: adapters of :class:`keyturn.core.access_source.AccessSource`."""
