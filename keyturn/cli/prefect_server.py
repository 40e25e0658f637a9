"""The Prefect server that a command speaks to, and its refusals in Keyturn's words."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from keyturn.cli.environment import known_stack
from keyturn.core.errors import Denied, Invalid, NotFound, Unavailable
from keyturn.core.workspaces import WorkspaceNames

LOCAL: Final = "or run it here without Prefect: add --local"


def insist_on_prefect(instead: str = f", {LOCAL}") -> str:
    """The server's address. Raises Invalid without one: Prefect would start a server of its own, of no use.

    ``instead`` is what else helps, where there is something.
    """
    from prefect.settings import get_current_settings

    address = get_current_settings().api.url
    if address:
        return str(address)
    if stopped := known_stack():
        problem = f"the local stack in {stopped.home} does not run"
        remedy = "Run `keyturn up`, or set PREFECT_API_URL to another server"
        raise Unavailable("find", "the Prefect server", problem, remedy)
    raise Invalid("find", "the Prefect server", "PREFECT_API_URL is not set", f"Set it{instead}")


@contextmanager
def in_our_words(doing: str, name: str, workspace: WorkspaceNames) -> Iterator[None]:
    """Turn what Prefect's client raises into Keyturn's errors."""
    import httpx
    from prefect.exceptions import ObjectNotFound

    try:
        yield
    except ObjectNotFound:
        remedy = f"Run `keyturn bootstrap{workspace.option}` once, {LOCAL}"
        raise NotFound(doing, name, "the Prefect server has no such deployment", remedy) from None
    except httpx.HTTPStatusError as error:
        raise of_status(doing, name, error.response.status_code) from None
    except (httpx.TransportError, RuntimeError) as error:
        # Prefect's client raises RuntimeError where the server's version can't be read.
        problem = f"the Prefect server does not answer ({type(error).__name__})"
        raise Unavailable(doing, name, problem, f"Check PREFECT_API_URL and that the server runs, {LOCAL}") from None


def of_status(doing: str, name: str, status: int) -> Denied | Unavailable:
    """The server answered, and refused."""
    if status in (401, 403):
        return Denied(doing, name, "the Prefect server denies it", f"Check PREFECT_API_KEY, {LOCAL}")
    problem = f"the Prefect server failed (status {status})"
    return Unavailable(doing, name, problem, f"See the server's log, {LOCAL}")
