"""What a worker with a login of its own does besides: keep that login, and end what it alone may look for."""

from contextlib import suppress
from typing import Final

from flows.common import workspace
from keyturn.core.errors import KeyturnError
from tasks import own_keys as tasks

ONCE_AN_HOUR: Final = 5
"""Minutes at the beginning of an hour, in which one run of every five minutes begins."""


async def end_left_tokens() -> None:
    """Once an hour, end what a run has left that died while it asked for a lease; the ledger tells of each."""
    with suppress(KeyturnError):
        if (await workspace()).hub_now().minute < ONCE_AN_HOUR:
            await tasks.end_left_tokens.fn()


async def keep_login() -> None:
    """Let it be replaced before it ends. What stops that stops nothing here: `keyturn due` shows it, and the next run
    tries again."""
    with suppress(KeyturnError):
        await tasks.turn_login.fn()
