"""What a person may waive at a retirement."""

from enum import StrEnum


class Waive(StrEnum):
    """Of what holds an old credential: nothing, its grace, or everything."""

    NOTHING = "nothing"
    GRACE = "grace"
    EVERYTHING = "everything"
