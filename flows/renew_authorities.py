"""Replace signing certificate authorities before they expire."""

from datetime import timedelta
from typing import Final

from flows.support.common import flow, workspace
from flows.support.key_rotations import KeyTurning
from keyturn.core.own_keys import KeyTurn
from tasks import authorities as tasks
from tasks.step import look


@flow("renew-authorities", timeout=timedelta(minutes=30), looks=True)
async def renew_authorities(name: str | None = None, now: bool = False) -> list[KeyTurn]:
    """Renew each authority that is due; with ``now``, apply the declaration to the named one or all.

    A worker without the right reports what is due; the run fails once that is late. A failure does not stop the others.
    """
    await workspace()
    return await TURNING.turn_all(await look(tasks.due_authorities, name, now), now)


def state_of(turn: KeyTurn) -> str:
    return "done" if turn.changed else "due" if turn.blocked else "in force"


TURNING: Final = KeyTurning("renew-authorities", "authorities", "renew", tasks.renew_authority, state_of)
