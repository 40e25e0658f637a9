"""Rotate the keys of other engines."""

from datetime import timedelta
from typing import Final

from flows.support.common import flow, workspace
from flows.support.key_rotations import KeyTurning
from keyturn.core.own_keys import KeyTurn
from tasks import managed_keys as tasks
from tasks.step import look


@flow("rotate-keys", timeout=timedelta(minutes=30), looks=True)
async def rotate_keys(name: str | None = None, now: bool = False) -> list[KeyTurn]:
    """Rotate each managed key that is due; with ``now`` the named one or all.

    A failure does not stop the others; it is a row, and fails the run at its end.
    """
    await workspace()
    return await TURNING.turn_all(await look(tasks.due_keys, name, now), now)


def state_of(turn: KeyTurn) -> str:
    return "done" if turn.changed else "in use"


TURNING: Final = KeyTurning("rotate-keys", "keys", "rotate", tasks.rotate_key, state_of)
