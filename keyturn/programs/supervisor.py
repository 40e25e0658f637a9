"""Runs one program until it ends, and applies each change of its secrets and files.

Only the main thread controls it. Other threads use :meth:`Supervisor.submit`.
"""

import os
import queue
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from keyturn.core.errors import KeyturnError, Unavailable
from keyturn.programs.children import Children, Group, adopt_orphans, group_of, signal_group, signal_program
from keyturn.programs.outputs import Output, write_outputs
from keyturn.programs.reactions import RESTART, Reaction, without_needless
from keyturn.programs.rendering import Rendering
from keyturn.programs.signals import FOR_ALL, FORWARDED, TYPED, Signals
from keyturn.programs.terminal import Terminal

PAUSE: Final = 0.05
"""Seconds between two checks of a process group, whose end no signal reports."""
IDLE: Final = 3600.0
LONGEST_DEATH: Final = 5.0
"""Seconds that a killed process may take to end."""
COMMAND_TIMEOUT: Final = 60.0
"""Seconds that a template's command may take."""


@dataclass(frozen=True)
class Program:
    """The program, and how to treat it. ``environment`` excludes its secrets; times are in seconds.

    ``reactions`` are for single files, ``on_change`` for everything else. The program has ``grace`` to end after
    SIGTERM, and has to live for ``settle`` before a change counts as applied.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    on_change: Reaction = RESTART
    reactions: Mapping[Path, Reaction] = field(default_factory=dict)
    grace: float = 10.0
    settle: float = 1.0


@dataclass(frozen=True)
class PendingChange:
    """The new rendering, or the error that ends the program; ``done`` reports the result."""

    rendering: Rendering | KeyturnError
    done: "Future[None]" = field(default_factory=Future)


class Supervisor:
    """Runs ``program``; ``tell`` shows a line to the user."""

    def __init__(self, program: Program, tell: Callable[[str], object]) -> None:
        self._program = program
        self._tell = tell
        self._changes: queue.SimpleQueue[PendingChange] = queue.SimpleQueue()
        self._signals = Signals()
        self._terminal = Terminal()
        self._children = Children(self._terminal)
        self._group = group_of(self._terminal)
        self._pid = 0
        self._ending = False
        self._stopping = False
        self._rendering = Rendering()
        self._outputs: Sequence[Output] = ()
        self._unfinished: list[Reaction] = []
        self._failure: KeyturnError | None = None

    def run(self, rendering: Rendering, begun: Callable[[], object]) -> int:
        """Run the program until it ends, and return its exit code; ``begun`` is called once it runs.

        Raises NotBegun, errors of writing its files, and the reason for ending it.
        """
        adopt_orphans()
        with self._terminal, self._signals:
            try:
                self._write(rendering)
                self._begin(rendering)
                begun()
                return self._watch()
            finally:
                if self._pid and self._code is None:
                    with suppress(KeyturnError):
                        self._stop()
                if self._pid and self._terminal.held_by(self._pid):
                    self._terminal.take_back()
                self._refuse_changes()

    def submit(self, rendering: Rendering | KeyturnError) -> "Future[None]":
        """Apply this rendering, from any thread; the future reports the result.

        An error ends the program, and :meth:`run` raises it.
        """
        change = PendingChange(rendering)
        self._changes.put(change)
        self._signals.wake()
        return change.done

    @property
    def unfinished(self) -> bool:
        return bool(self._unfinished)

    @property
    def outputs(self) -> Sequence[Output]:
        return self._outputs

    @property
    def _code(self) -> int | None:
        return self._children.ended(self._pid)

    def _write(self, rendering: Rendering) -> Sequence[Output]:
        written = write_outputs(rendering.outputs)
        self._outputs = rendering.outputs
        return written

    def _begin(self, rendering: Rendering) -> None:
        group = self._group
        if group is Group.IN_FRONT and not (self._terminal.in_front or self._terminal.held_by(self._pid)):
            group = Group.OWN
        program = self._program
        self._pid = self._children.begin(program.command, program.environment, rendering.environment, group)
        self._rendering = rendering

    def _watch(self) -> int:
        while self._code is None:
            self._pump(IDLE)
            while self._code is None and not self._changes.empty():
                self._carry_out(self._changes.get())
        if self._failure:
            raise self._failure
        return self._code

    def _carry_out(self, change: PendingChange) -> None:
        try:
            if isinstance(change.rendering, KeyturnError):
                self._failure = change.rendering
                self._stop()
            else:
                self._apply(change.rendering)
        except KeyturnError as error:
            change.done.set_exception(error)
        except BaseException as error:
            change.done.set_exception(Unavailable("give", "a change", f"it failed: {type(error).__name__}"))
            raise
        else:
            change.done.set_result(None)

    def _apply(self, rendering: Rendering) -> None:
        """Apply a change: first the files, which the program may read already."""
        default = self._program.on_change
        written = self._write(rendering)
        reactions = [*self._unfinished, *(self._program.reactions.get(output.file, default) for output in written)]
        if rendering.environment != self._rendering.environment:
            reactions.append(default)
        self._unfinished = without_needless(reactions)
        if default.restart or rendering.environment == self._rendering.environment:
            self._rendering = rendering
        for reaction in [*self._unfinished]:
            self._react(reaction, rendering)
            self._unfinished.remove(reaction)

    def _react(self, reaction: Reaction, rendering: Rendering) -> None:
        if reaction.restart:
            self._restart(rendering)
        elif reaction.number:
            self._tell(f"what {self._name} was given has changed: it is sent {signal.Signals(reaction.number).name}")
            signal_program(self._pid, reaction.number)
            self._insist_on_life()
        elif reaction.command:
            self._run(reaction.command)

    @property
    def _name(self) -> str:
        return os.path.basename(self._program.command[0])

    def _restart(self, rendering: Rendering) -> None:
        self._insist_on_no_end()
        self._tell(f"what {self._name} was given has changed: it is restarted")
        self._stop()
        self._insist_on_no_end()
        try:
            self._begin(rendering)
        except KeyturnError as error:
            self._failure = error
            raise
        self._insist_on_life()

    def _insist_on_no_end(self) -> None:
        if self._ending:
            raise Unavailable("begin", self._name, "it was asked to stop")

    def _insist_on_life(self) -> None:
        """Wait until the program has lived for ``settle``. Raises Unavailable at its end."""
        until = time.monotonic() + self._program.settle
        while self._code is None and (left := until - time.monotonic()) > 0:
            self._pump(left)
        self._insist_on_running()

    def _insist_on_running(self) -> None:
        if self._code is not None:
            raise Unavailable("give", self._name, f"it has ended with code {self._code}")

    def _stop(self) -> None:
        """End the program and its descendants: SIGTERM, and SIGKILL after the grace period.

        Raises Unavailable where it can't be ended.
        """
        until = time.monotonic() + self._program.grace
        self._stopping = True
        self._send(signal.SIGTERM, everybody=True)
        self._send(signal.SIGCONT, everybody=True)
        stragglers: set[int] = set()
        while self._something_lives() and (left := until - time.monotonic()) > 0:
            stragglers |= self._ask_rest(stragglers)
            self._pump(left if self._code is None else min(left, PAUSE))
        self._send(signal.SIGKILL, everybody=True)
        until = time.monotonic() + LONGEST_DEATH
        while self._code is None and time.monotonic() < until:
            self._pump(PAUSE)
        self._stopping = False
        if self._code is None:
            raise Unavailable("end", self._name, "it can't be ended", "It may run as another user: end it there")
        if not self._children.kill_rest():
            self._tell(f"some of what {self._name} has begun can't be ended: it may run as another user")

    def _something_lives(self) -> bool:
        return self._code is None or self._send(0, everybody=True) or bool(self._children.rest)

    def _ask_rest(self, stragglers: set[int]) -> set[int]:
        """Send SIGTERM once to each remaining process of an ended program; return these."""
        rest = self._children.rest - stragglers if self._code is not None else set()
        for pid in rest:
            signal_program(pid, signal.SIGTERM)
        return rest

    def _run(self, command: Sequence[str]) -> None:
        pid = self._children.begin(command, self._program.environment, {}, Group.OWN)
        until = time.monotonic() + COMMAND_TIMEOUT
        while (code := self._children.ended(pid)) is None and (left := until - time.monotonic()) > 0:
            self._insist_on_running()
            self._pump(left)
        if code:
            raise Unavailable("run", command[0], f"it ended with code {code}", "It is run again with the next look")
        if code is None:
            signal_group(pid, signal.SIGKILL)
            raise Unavailable("run", command[0], f"it took longer than {COMMAND_TIMEOUT:.0f} s and was ended")

    def _pump(self, seconds: float) -> None:
        for number in self._signals.wait(seconds):
            if number == signal.SIGCONT:
                self._go_on()
            elif number in FORWARDED:
                self._forward(number)
        if self._pid in self._children.look() and self._group is not Group.SHARED and self._terminal.there:
            self._stop_too()

    def _forward(self, number: int) -> None:
        self._ending |= number == signal.SIGTERM or (self._stopping and number in FOR_ALL)
        if not (self._group is Group.SHARED and number in TYPED):
            self._send(number, everybody=number in FOR_ALL)

    def _send(self, number: int, *, everybody: bool) -> bool:
        """Send a signal to the program, or its whole group; False without any."""
        if self._group is not Group.SHARED and everybody:
            return signal_group(self._pid, number)
        if self._code is None:
            signal_program(self._pid, number)
        return self._code is None

    def _stop_too(self) -> None:
        """After a stop at the terminal, stop this process too; without a shell, continue the program."""
        if os.getsid(0) == os.getpid():
            return self._go_on()
        self._terminal.take_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        return self._go_on()

    def _go_on(self) -> None:
        if self._code is not None or self._group is Group.SHARED:
            return
        if self._terminal.in_front:
            self._terminal.give_to(self._pid)
        self._send(signal.SIGCONT, everybody=True)

    def _refuse_changes(self) -> None:
        while not self._changes.empty():
            change = self._changes.get()
            change.done.set_exception(Unavailable("give", self._name, "it has ended"))
