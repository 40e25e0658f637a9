"""Prometheus, which asks for metrics."""
