"""Opens what the catalogue names: strategies, stores and providers."""
