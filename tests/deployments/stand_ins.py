"""Small programs that stand in for services."""

import sys
from collections.abc import Callable

from local.home import Stack
from local.services import Service
from local.support.process import Process

WAITING = "print('ready', flush=True); import time; time.sleep(60)"
SERVING = "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); " + WAITING
FAILING = "import sys; sys.exit('the disk is full')"


def serving(name: str, program: str = SERVING) -> Callable[[Stack], None]:
    """A start that runs a small program as this service."""

    def start(stack: Stack) -> None:
        process = Process(name, stack.directory(name))
        command = [sys.executable, "-c", program, str(stack.ports.get(name, 0))]
        process.start(command, ready=lambda: process.says("^ready"))

    return start


def small(name: str, program: str = SERVING, *, late: bool = False, package: str = "json") -> Service:
    return Service(name, package, serving(name, program), needs_preparation=late)
