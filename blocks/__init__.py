"""Prefect blocks: typed connection settings that open an adapter. They hold references, not credentials."""

from blocks.channel import FailureChannel
from blocks.secret import KeyturnSecret
from blocks.workspace import KeyturnWorkspace

__all__ = ["FailureChannel", "KeyturnSecret", "KeyturnWorkspace"]
