"""Keyturn's own keys together: where each stands, and its next step."""

from keyturn.core.errors import KeyturnError, NotFound
from keyturn.core.own_keys import KeyTurn, OwnKey
from keyturn.core.suggest import advice
from keyturn.rotation.context import Workspace
from keyturn.rotation.webhook_keys import turn_webhook_key, webhook_key


def own_keys(workspace: Workspace) -> list[OwnKey]:
    """Every one that this login can see; what hinders a look is part of the answer."""
    return [webhook_key(workspace, consumer) for consumer in sorted(workspace.catalogue.consumers)]


def due_keys(workspace: Workspace, name: str | None = None, *, forced: bool = False) -> list[str]:
    """The names of those whose next step is due; where it is ``forced``, of all, or of the one of that name.

    One that nobody could look at is due: its turn says why. Raises NotFound for a name that is none.
    """
    keys = own_keys(workspace)
    if name and name not in {key.name for key in keys}:
        hint = advice(name, [key.name for key in keys], "`keyturn due` lists them")
        raise NotFound("replace", name, "no key of Keyturn's own is called so", hint)
    now = workspace.hub_now()
    chosen = [key for key in keys if name in (None, key.name)]
    return [key.name for key in chosen if forced or key.since is None or key.due(now)]


def turn_own_key(workspace: Workspace, name: str, *, forced: bool = False) -> KeyTurn:
    """The next step of the one of that name. Raises what hinders it."""
    consumers = {settings.signing_key: consumer for consumer, settings in workspace.catalogue.consumers.items()}
    return turn_webhook_key(workspace, consumers[name], forced=forced)


def turn_own_keys(
    workspace: Workspace, name: str | None = None, *, forced: bool = False
) -> dict[str, KeyTurn | KeyturnError]:
    """The next step of those that are due, one after the other; what one raises stops no other."""
    results: dict[str, KeyTurn | KeyturnError] = {}
    for key in due_keys(workspace, name, forced=forced):
        try:
            results[key] = turn_own_key(workspace, key, forced=forced)
        except KeyturnError as error:
            results[key] = error
    return results
