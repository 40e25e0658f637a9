"""Ports: the interfaces that adapters and strategies implement."""
