"""The logs that are read as they grow: adapters of :class:`keyturn.core.ports.access_source.AccessSource`."""
