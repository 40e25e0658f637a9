"""Schedule the deletion of an unused managed key in its engine, or cancel it.

Everything that the key has encrypted is lost with it. So only a person with separate rights does this.
"""

from datetime import datetime, timedelta
from typing import Final

from keyturn.core.errors import Invalid, UnsupportedOperation
from keyturn.core.ports.managed_keys import EndsLater, KeyCondition, ManagedKey
from keyturn.core.rights.capabilities import capability
from keyturn.keys.managed_keys import opened_key
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import record_action

END: Final = "end key"
KEEP: Final = "keep key"


def end_key(workspace: Workspace, name: str, window: timedelta) -> datetime:
    """Schedule the deletion after ``window`` unless scheduled, and return its time.

    Raises UnsupportedOperation, and the engine's errors.
    """
    key = opened_key(workspace, name)
    ends, facts = _ending(key, name), key.describe()
    if facts.condition is KeyCondition.ENDING and facts.ends_at:
        return facts.ends_at
    with record_action(workspace, END, place=name, note=f"after {window.days} days; {key.name}") as doing:
        at = ends.schedule_end(window)
        doing.note = f"to be deleted {at:%Y-%m-%d %H:%M} UTC; {key.name}"
    return at


def keep_key(workspace: Workspace, name: str) -> bool:
    """Cancel the deletion, and return whether there was one.

    Raises Invalid for a disabled key.
    """
    key = opened_key(workspace, name)
    ends, facts = _ending(key, name), key.describe()
    if facts.condition is KeyCondition.ENABLED:
        return False
    if facts.condition is KeyCondition.DISABLED:
        raise Invalid("keep", name, "the key is disabled, and not to be deleted", "Enable it at its engine")
    with record_action(workspace, KEEP, place=name, note=key.name):
        ends.cancel_end()
    return True


def _ending(key: ManagedKey, name: str) -> EndsLater:
    if ends := capability(key, EndsLater):
        return ends
    problem = "its engine has no deletion that can be taken back here"
    raise UnsupportedOperation("end", name, problem, "Remove it from the catalogue, and end it at its engine")
