"""Credentials that the hub has lost and that copies hold still: a restored snapshot forgets, their target does not."""

from collections.abc import Iterator
from functools import partial
from typing import Final

from keyturn.core.errors import KeyturnError
from keyturn.core.sensitive import SecretFields
from keyturn.revocation.holding import Held, newest
from keyturn.revocation.incident import Unseen
from keyturn.revocation.looking import EVERY, history_lost, look
from keyturn.revocation.placing import Ended
from keyturn.rotation.ahead import lost_by_hub
from keyturn.rotation.context import Keyturn
from keyturn.rotation.living import Value
from keyturn.rotation.living import held as held_by
from keyturn.strategies.vault_dynamic import VaultDynamicSettings

FORGOTTEN: Final = "accounts that the hub's engine gave before it fell back, and has forgotten: nobody can list them"


def end_lost(held: Held, ended: Ended) -> tuple[Unseen, ...]:
    """End what only copies tell of, where the hub has fallen back; what the target takes, or may take, all the same.

    It is tried here and now: the copy that tells of it gets the replacement.
    """
    if not fallen_back(held):
        return ()
    strategy, left = held.keyturn.open_strategy(held.path), []
    for value in lost_values(held):
        ended.trying(partial(held.above, value.fields, partial(strategy.cut, value.fields)))
        if why := accepted(held.keyturn, held.path, value.fields):
            what = f"the credential that {value.place} held, of version {value.version}, which the hub has lost"
            left.append(Unseen(0, f"{what}: {why}", accepted=True))
    if isinstance(held.keyturn.secret(held.path).rotation, VaultDynamicSettings):
        left.append(Unseen(0, FORGOTTEN, accepted=True))
    return tuple(left)


def lost_values(held: Held) -> Iterator[Value]:
    """What copies hold that no version of the hub does."""
    keyturn, path = held.keyturn, held.path
    sight = look(keyturn, path, EVERY)
    known = {keyturn.fingerprint(one.fields) for one in sight.versions}
    for place in keyturn.catalogue.destinations(path):
        value = held_by(keyturn, path, place, sight.current)
        if isinstance(value, Value) and value.fingerprint not in known:
            yield value


def fallen_back(held: Held) -> bool:
    """Whether the ledger, or the record, knows of versions that the hub has lost."""
    keyturn, path = held.keyturn, held.path
    if lost_by_hub(keyturn, path, newest(keyturn, path)):
        return True
    return bool(history_lost(keyturn, held.record, look(keyturn, path, EVERY)))


def accepted(keyturn: Keyturn, path: str, credential: SecretFields) -> str:
    """Why the target may let somebody in with it; empty where it refuses, and where there is no target to ask."""
    try:
        return "the target accepts it" if keyturn.open_strategy(path).honours(credential) else ""
    except KeyturnError as error:
        return f"nobody could try it: {error.problem}"
