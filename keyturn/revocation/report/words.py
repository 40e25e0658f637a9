"""The words for an incident's steps, states and results in its report."""

from typing import Final

UNREAD: Final = 20
"""Unread secrets that one sentence names."""

STEPS: Final = {
    "cut": "end the credential",
    "replace": "make a new one",
    "push": "sync the copy",
    "notify": "notify the consumer",
    "hub": "destroy old versions",
    "forget": "remove old versions",
    "prove": "prove",
    "incident": "incident",
}

STATES: Final = {
    "clear": "clear, proven",
    "removed": "removed, not proven yet",
    "remains": "something remains",
    "failed": "failed, is tried again",
    "waiting": "not done yet",
}

RESULTS: Final = {"done": "done", "failed": "failed", "remains": "remains"}
