"""Follow the authorities that sign certificates by others before they end."""

from datetime import timedelta
from typing import Final

from flows.support.common import flow, workspace
from flows.support.key_rotations import KeyTurning
from keyturn.core.own_keys import KeyTurn
from tasks import authorities as tasks
from tasks.step import look


@flow("renew-authorities", timeout=timedelta(minutes=30), looks=True)
async def renew_authorities(name: str | None = None, now: bool = False) -> list[KeyTurn]:
    """Renew each authority that is due, or bring the one that is named, or all, to what is declared, ``now``.

    A worker whose login may not says what is due; the run fails once that is late. What one raises stops no other.
    """
    await workspace()
    return await TURNING.turn_all(await look(tasks.due_authorities, name, now), now)


def state_of(turn: KeyTurn) -> str:
    """How one stands, in a word."""
    return "done" if turn.changed else "due" if turn.blocked else "in force"


TURNING: Final = KeyTurning("renew-authorities", "authorities", "renew", tasks.renew_authority, state_of)
