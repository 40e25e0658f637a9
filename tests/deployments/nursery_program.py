"""A nursery that has imported nothing, and whose runs do what their settings say: for the tests of the real one."""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

from keyturn.project import nursery
from keyturn.project.process import end_with


def act() -> None:
    """Leave in KEYTURN_FILE what this process is, and do what KEYTURN_DOES says."""
    text = json.dumps(
        {
            "environment": dict(os.environ),
            "directory": os.getcwd(),
            "descriptors": len(os.listdir("/proc/self/fd")),
            "leads": (os.getpgrp(), os.getsid(0)) == (os.getpid(), os.getpid()),
            "parent": os.getppid(),
        }
    )
    file = Path(os.environ["KEYTURN_FILE"])
    file.with_suffix(".new").write_text(text)
    file.with_suffix(".new").replace(file)
    match os.environ["KEYTURN_DOES"]:
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(7)
        case "raise":
            raise RuntimeError("it has failed")
        case "wait":
            # A test that was killed lets nobody go.
            until = time.monotonic() + 300
            while not file.with_suffix(".go").exists() and time.monotonic() < until:
                time.sleep(0.02)


with socket.socket(fileno=os.dup(sys.stdin.fileno())) as worker:
    own = nursery.fork_runs(worker, nursery.stamps(filter(None, [os.environ.get("CODE")]), time.time_ns()))
if own is not None:
    run = own
    end_with(lambda: nursery.enter_run(run, act))
