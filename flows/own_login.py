"""The login of the worker that a flow runs in, where that is not the everyday worker's."""

from contextlib import suppress

from keyturn.core.errors import KeyturnError
from tasks import own_keys as tasks


async def keep_login() -> None:
    """Let it be replaced before it ends. What stops that stops nothing here: `keyturn due` shows it, and the next run
    tries again."""
    with suppress(KeyturnError):
        await tasks.turn_login.fn()
