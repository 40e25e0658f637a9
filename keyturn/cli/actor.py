"""The running command and its user on this machine, recorded next to the hub's identity."""

import os
import pwd
import socket

from keyturn.core.actor import Acting


def acting_command(command: str) -> Acting:
    """Describe the process that runs ``command``. The user comes from its uid, not from environment variables."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid {os.getuid()}"
    return Acting(f"keyturn {command}, process {os.getpid()}", f"{user}@{socket.gethostname()}")
