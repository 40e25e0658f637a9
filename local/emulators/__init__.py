"""Stand-ins of clouds and of a cluster, for the local stack and the tests alone."""
