"""Rotate the keys that lie in other engines, and do what follows on that."""

from datetime import timedelta
from typing import Final

from flows.support.common import flow, workspace
from flows.support.key_rotations import KeyTurning
from keyturn.core.own_keys import KeyTurn
from tasks import managed_keys as tasks
from tasks.step import look


@flow("rotate-keys", timeout=timedelta(minutes=30), looks=True)
async def rotate_keys(name: str | None = None, now: bool = False) -> list[KeyTurn]:
    """Rotate each managed key that is due, or the one that is named, or all, ``now``; and bring it to what is declared.

    What one key raises stops no other: it is a row, and fails the run at its end.
    """
    await workspace()
    return await TURNING.turn_all(await look(tasks.due_keys, name, now), now)


def state_of(turn: KeyTurn) -> str:
    """How one stands, in a word."""
    return "done" if turn.changed else "in use"


TURNING: Final = KeyTurning("rotate-keys", "keys", "rotate", tasks.rotate_key, state_of)
