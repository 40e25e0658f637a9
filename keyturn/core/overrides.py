"""What a person may waive at a retirement."""

from enum import StrEnum


class Waive(StrEnum):
    """Which holds on an old credential to waive: none, its grace period, or all."""

    NOTHING = "nothing"
    GRACE = "grace"
    EVERYTHING = "everything"
