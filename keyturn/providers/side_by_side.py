"""Reading many secrets of a service that gives them out one by one."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from keyturn.core.errors import NotFound
from keyturn.core.sensitive import Sensitive


def read_side_by_side(read: Callable[[str], Sensitive], remotes: Sequence[str], threads: int) -> dict[str, Sensitive]:
    """What ``read`` gives for each name, so many at a time; what it calls NotFound is left out."""
    found: dict[str, Sensitive] = {}

    def keep(remote: str) -> None:
        with suppress(NotFound):
            found[remote] = read(remote)

    with ThreadPoolExecutor(threads) as pool:
        # Raises what one of them raised, and then lets go of those that wait.
        list(pool.map(keep, dict.fromkeys(remotes)))
    return found
