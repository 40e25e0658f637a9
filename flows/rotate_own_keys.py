"""Replace Keyturn's own keys step by step, such as those that sign its notices."""

from datetime import timedelta
from typing import Final

from flows.support.common import flow, workspace
from flows.support.key_rotations import KeyTurning
from keyturn.core.own_keys import KeyTurn
from tasks import own_keys as tasks
from tasks.step import look


@flow("rotate-own-keys", timeout=timedelta(minutes=30), looks=True)
async def rotate_own_keys(name: str | None = None, now: bool = False) -> list[KeyTurn]:
    """Do the next step of each own key that is due; with ``now`` of the named one or all.

    A step that waits for a person, such as an unaccepted new key, fails no run: it is a row.
    """
    await workspace()
    return await TURNING.turn_all(await look(tasks.due_keys, name, now), now)


def state_of(turn: KeyTurn) -> str:
    return "replaced" if turn.changed else "waits for a person" if turn.blocked else "waits"


TURNING: Final = KeyTurning("rotate-own-keys", "own_keys", "replace", tasks.turn_own_key, state_of)
