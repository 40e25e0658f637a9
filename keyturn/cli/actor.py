"""Who runs a command, for the ledger and for incidents."""

import os
import pwd
import socket

from keyturn.core.acting import Acting


def acting_person(command: str) -> Acting:
    """The user of this machine who runs ``command``, and on whose behalf where that was said to sudo."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid {os.getuid()}"
    behind = os.environ.get("SUDO_USER")
    name = f"{behind} as {user}" if behind and behind != user else user
    return Acting(f"{name}@{socket.gethostname()}", f"keyturn {command}, process {os.getpid()}")
