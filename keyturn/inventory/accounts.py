"""The accounts of database servers that the admin's login can list: names and groups."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from keyturn.core.errors import KeyturnError, NotFound, unexpected
from keyturn.core.rights.capabilities import capability
from keyturn.core.sensitive import Sensitive
from keyturn.inventory.hub_inventory import Say, Unread
from keyturn.inventory.values import Digests
from keyturn.rotation.state.context import side_by_side


class ListsAccounts(Protocol):
    def list_accounts(self) -> Mapping[str, frozenset[str]]:
        """Return every account that may log in, with its roles without login. Raises Denied."""


@dataclass(frozen=True)
class TargetInventory:
    """One target. ``accounts`` are its accounts with their groups, by the digest of their names.

    ``host`` are the digests of the names that a secret may use for the server.
    """

    name: str
    kind: str
    host: frozenset[str] = frozenset()
    accounts: Mapping[str, "AccountSeen"] = field(default_factory=dict)
    unread: tuple[Unread, ...] = ()


@dataclass(frozen=True)
class AccountSeen:
    name: str
    groups: frozenset[str]


def take_target_inventories(
    targets: Mapping[str, Any], opened: Mapping[str, object], digests: Digests, say: Say
) -> list[TargetInventory]:
    """Return every target's accounts; ``opened`` are the adapters, or the errors of opening them."""

    def look(name: str) -> TargetInventory:
        settings = targets[name]
        host = str(getattr(settings, "host", ""))
        port = getattr(settings, "port", None)
        hosts = (
            frozenset(digests.of_text(Sensitive(text)) for text in (host, f"{host}:{port}")) if host else frozenset()
        )
        accounts, unread = look_at_accounts(name, opened[name], digests, say)
        return TargetInventory(name, settings.kind, hosts, accounts, unread)

    return side_by_side(look, sorted(targets))


def look_at_accounts(
    name: str, target: object, digests: Digests, say: Say
) -> tuple[Mapping[str, AccountSeen], tuple[Unread, ...]]:
    try:
        if isinstance(target, KeyturnError):
            raise target
        if (lists := capability(target, ListsAccounts)) is None:
            return {}, ()
        accounts = lists.list_accounts()
    except NotFound as error:
        again = f"Run `keyturn setup target {name} --apply`, then this again"
        why = f"its accounts could not be listed: {error.problem}. {again}"
        return {}, (Unread(f"target {name}", why),)
    except KeyturnError as error:
        return {}, (Unread(f"target {name}", f"its accounts could not be listed: {error.problem}"),)
    except Exception as error:  # noqa: BLE001  its text could hold a value
        return {}, (Unread(f"target {name}", unexpected(error).problem),)
    say(f"{name} has {len(accounts)} accounts that may log in")
    return {digests.of_text(Sensitive(a)): AccountSeen(a, groups) for a, groups in accounts.items()}, ()
