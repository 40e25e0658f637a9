"""Replace what Keyturn itself works with, step by step: the keys that sign its notices."""

from datetime import timedelta
from typing import Final

from flows.support.common import flow, workspace
from flows.support.key_rotations import KeyTurning
from keyturn.core.own_keys import KeyTurn
from tasks import own_keys as tasks
from tasks.step import look


@flow("rotate-own-keys", timeout=timedelta(minutes=30), looks=True)
async def rotate_own_keys(name: str | None = None, now: bool = False) -> list[KeyTurn]:
    """Take the next step of each key of Keyturn's own that is due; of the one that is named, or of all, ``now``.

    What waits for a person, such as a consumer that does not accept its new key yet, fails no run: it is a row.
    """
    await workspace()
    return await TURNING.turn_all(await look(tasks.due_keys, name, now), now)


def state_of(turn: KeyTurn) -> str:
    """How one stands, in words."""
    return "replaced" if turn.changed else "waits for somebody" if turn.blocked else "waits"


TURNING: Final = KeyTurning("rotate-own-keys", "own_keys", "replace", tasks.turn_own_key, state_of)
