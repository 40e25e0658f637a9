"""Prefect blocks that open an adapter; they hold references, not credentials."""

from blocks.channel import FailureChannel
from blocks.secret import KeyturnSecret
from blocks.workspace import KeyturnWorkspace

__all__ = ["FailureChannel", "KeyturnSecret", "KeyturnWorkspace"]
