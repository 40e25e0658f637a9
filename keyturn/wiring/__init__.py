"""Connects catalogue, strategies, stores and providers: what each name opens."""
