"""Secrets of a Kubernetes namespace as a store, and the workloads that use them."""
