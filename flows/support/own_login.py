"""Extra work of a worker with its own login."""

from contextlib import suppress
from datetime import timedelta
from typing import Final

from flows.support.common import workspace
from flows.support.starting import Wanted, is_deployed, start_later
from keyturn.core.errors import KeyturnError
from keyturn.rotation.grace import by_this_clock
from tasks import own_keys as tasks

ONCE_AN_HOUR: Final = 5
"""Minutes; of runs every five minutes, one starts in the first five."""
LONGEST: Final = timedelta(days=1)
"""The daily run finds steps that are due later."""


async def clean_up(*, often: bool) -> None:
    """Remove tokens and candidates of dead runs; for runs that come ``often``, once an hour."""
    for task in (tasks.end_left_tokens, tasks.remove_leftover_candidates):
        with suppress(KeyturnError):
            if not often or (await workspace()).hub_now().minute < ONCE_AN_HOUR:
                await task.fn()


async def keep_login(flow: str) -> None:
    """Replace the login before it expires, and schedule ``flow`` for the next step.

    A failure stops nothing: the next run tries again.
    """
    with suppress(KeyturnError):
        turned = await tasks.turn_login.fn()
        if turned and turned.next_at and is_deployed():
            at = by_this_clock(await workspace(), turned.next_at)
            if at - (await workspace()).clock() < LONGEST:
                await start_later(Wanted(flow, at=at))
