"""The status and the next step of each of Keyturn's own keys."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

from keyturn.core.errors import Denied, KeyturnError, NotFound
from keyturn.core.own_keys import KeyState, KeyTurn, OwnKey, turn_each
from keyturn.core.text.suggest import advice
from keyturn.keys.own_login import key_name, own_login_keys, turn_own_login
from keyturn.keys.refingerprint import standing, turn_fingerprint_key
from keyturn.keys.webhook_keys import turn_webhook_key, webhook_key
from keyturn.rotation.state.context import Workspace

FINGERPRINTS: Final = "fingerprint-key"
LEDGER: Final = "ledger-key"
SIGNING_KEY: Final = "keyturn-ledger"
"""The same as :data:`keyturn.ledger.naming.SIGNING_KEY`, without an import."""
TURN_LEDGER: Final = f"turn it: vault write -f transit/keys/{SIGNING_KEY}/rotate, or let the hub: auto_rotate_period"


def own_keys(workspace: Workspace) -> list[OwnKey]:
    """Every own key that this login can see, with any errors."""
    consumers = sorted(workspace.catalogue.consumers)
    webhooks = (webhook_key(workspace, consumer) for consumer in consumers)
    return [*webhooks, fingerprint_key(workspace), *ledger_key(workspace), *own_login_keys(workspace)]


def ledger_key(workspace: Workspace) -> list[OwnKey]:
    """The ledger's signing key, if visible."""
    what = "signs the ledger, where a notary is at work"
    try:
        made_at: datetime | None = getattr(workspace.hub.signer(SIGNING_KEY), "made_at", None)
    except (NotFound, Denied):
        return []
    except KeyturnError as error:
        return [OwnKey(LEDGER, what, KeyState.UNKNOWN, blocked=str(error))]
    oldest = workspace.own_keys.ledger_key
    due_at = made_at + oldest if made_at and oldest else None
    key = OwnKey(LEDGER, what, KeyState.BY_HAND, made_at, due_at)
    return [replace(key, blocked=TURN_LEDGER) if key.due(workspace.hub_now()) else key]


def fingerprint_key(workspace: Workspace) -> OwnKey:
    """The status of the fingerprint key. An open rotation is due."""
    what = "the key of all fingerprints"
    try:
        stands = standing(workspace)
    except KeyturnError as error:
        return OwnKey(FINGERPRINTS, what, KeyState.UNKNOWN, blocked=str(error))
    if stands.turning:
        return OwnKey(FINGERPRINTS, what, KeyState.TURNING, stands.made_at, workspace.hub_now())
    oldest = workspace.own_keys.fingerprint_key
    return OwnKey(FINGERPRINTS, what, KeyState.IN_USE, stands.made_at, stands.made_at + oldest if oldest else None)


def turn_fingerprints(workspace: Workspace, *, forced: bool = False) -> KeyTurn:
    """Take the next step of the fingerprint key. Raises the hub's errors."""
    key = fingerprint_key(workspace)
    begins = forced or (key.state is KeyState.IN_USE and key.due(workspace.hub_now()))
    turned = turn_fingerprint_key(workspace, workspace.hub_now(), begin=begins)
    message = f"{turned.message}: {turned.left[0]}" if turned.left else turned.message
    changed = turned.step not in ("nothing", "settling", "held open")
    return KeyTurn(FINGERPRINTS, message, changed=changed, blocked=turned.step == "held open")


def due_keys(workspace: Workspace, name: str | None = None, *, forced: bool = False) -> list[str]:
    """The names of the keys that are due, or with ``forced``, of all or of the one named.

    Unreadable keys are due. Raises NotFound.
    """
    keys = own_keys(workspace)
    if name and name not in {key.name for key in keys}:
        hint = advice(name, [key.name for key in keys], "`keyturn due` lists them")
        raise NotFound("replace", name, "no key of Keyturn's own is called so", hint)
    now, turned = workspace.hub_now(), turned_here(workspace)
    chosen = [key for key in keys if key.name in turned and name in (None, key.name)]
    return [key.name for key in chosen if forced or key.state is KeyState.UNKNOWN or key.due(now)]


def turned_here(workspace: Workspace) -> dict[str, Callable[..., KeyTurn | None]]:
    """The step functions of the keys replaceable by this process."""
    consumers = workspace.catalogue.consumers
    turns: dict[str, Callable[..., KeyTurn | None]] = {
        settings.signing_key: partial(turn_webhook_key, workspace, consumer) for consumer, settings in consumers.items()
    }
    turns[FINGERPRINTS] = partial(turn_fingerprints, workspace)
    if login := workspace.hub.own_login():
        turns[key_name(login.role)] = partial(turn_own_login, workspace)
    return turns


def turn_own_key(workspace: Workspace, name: str, *, forced: bool = False) -> KeyTurn:
    """Take the next step of one key. Raises its error."""
    return turned_here(workspace)[name](forced=forced) or KeyTurn(name, "there is none any more")


def turn_own_keys(
    workspace: Workspace, name: str | None = None, *, forced: bool = False
) -> dict[str, KeyTurn | KeyturnError]:
    """Take the next step of the due keys. One failure stops no other."""
    return turn_each(due_keys(workspace, name, forced=forced), lambda key: turn_own_key(workspace, key, forced=forced))
