"""What a worker with a login of its own does besides: keep that login, and end what it alone may look for."""

from contextlib import suppress
from datetime import timedelta
from typing import Final

from flows.support.common import workspace
from flows.support.starting import Wanted, is_deployed, start_later
from keyturn.core.errors import KeyturnError
from keyturn.rotation.grace import by_this_clock
from tasks import own_keys as tasks

ONCE_AN_HOUR: Final = 5
"""Minutes at the beginning of an hour, in which one run of every five minutes begins."""
LONGEST: Final = timedelta(days=1)
"""A step that is due later than this is found by the run that looks once a day."""


async def clean_up(*, often: bool) -> None:
    """End and remove what a run has left that died: a token that asked for a lease, a candidate.

    Runs that come ``often`` do it once an hour.
    """
    for task in (tasks.end_left_tokens, tasks.remove_leftover_candidates):
        with suppress(KeyturnError):
            if not often or (await workspace()).hub_now().minute < ONCE_AN_HOUR:
                await task.fn()


async def keep_login(flow: str) -> None:
    """Let it be replaced before it ends; its next step has a run of this ``flow``. What stops that stops nothing here:
    `keyturn due` shows it, and the next run tries again."""
    with suppress(KeyturnError):
        turned = await tasks.turn_login.fn()
        if turned and turned.next_at and is_deployed():
            at = by_this_clock(await workspace(), turned.next_at)
            if at - (await workspace()).clock() < LONGEST:
                await start_later(Wanted(flow, at=at))
