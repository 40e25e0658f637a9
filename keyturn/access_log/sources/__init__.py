"""Sources for growing logs: adapters of :class:`keyturn.core.ports.access_source.AccessSource`."""
