"""Which command runs, and as which user of this machine: a remark beside whom the hub names."""

import os
import pwd
import socket

from keyturn.core.actor import Acting


def acting_command(command: str) -> Acting:
    """The process that runs ``command``. Its user is the one that the system knows it by, whatever variables say."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid {os.getuid()}"
    return Acting(f"keyturn {command}, process {os.getpid()}", f"{user}@{socket.gethostname()}")
