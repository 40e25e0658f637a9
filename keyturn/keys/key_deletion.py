"""The end of a managed key that nobody needs any more: its engine deletes it after a while, and it may stay until then.

What it has encrypted is lost with it. So no schedule does this and no worker's rights are enough for it: a person does,
with rights of their own at the engine.
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
    """Let the engine delete it after ``window``, unless that is so already; when it will be gone.

    Raises UnsupportedOperation for an engine that deletes at once or not at all, and what it refuses.
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
    """Take that back, so that it is used again; whether there was anything to take back.

    Raises Invalid for one that somebody has disabled, since nobody here has scheduled its end.
    """
    key = opened_key(workspace, name)
    ends, facts = _ending(key, name), key.describe()
    if facts.condition is KeyCondition.ENABLED:
        return False
    if facts.condition is KeyCondition.DISABLED:
        raise Invalid("keep", name, "the key is disabled, and not to be deleted", "Enable it where it lies")
    with record_action(workspace, KEEP, place=name, note=key.name):
        ends.cancel_end()
    return True


def _ending(key: ManagedKey, name: str) -> EndsLater:
    if ends := capability(key, EndsLater):
        return ends
    problem = "its engine has no deletion that can be taken back here"
    raise UnsupportedOperation("end", name, problem, "Take it out of the catalogue, and end it where it lies")
