"""Templates that an agent keeps up to date, and the commands to run when their files change."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from keyturn.cli import INHERITED
from keyturn.cli.output import note
from keyturn.cli.programs.exec_order import without_logins
from keyturn.cli.programs.programs import put_once, wrong
from keyturn.core.errors import KeyturnError, Unavailable
from keyturn.programs.follower import PATIENCE, Follower
from keyturn.programs.outputs import write_outputs
from keyturn.programs.reactions import Reaction
from keyturn.programs.rendering import Declaration, Rendering
from keyturn.programs.supervisor import COMMAND_TIMEOUT
from keyturn.programs.templates import Template

if TYPE_CHECKING:
    from keyturn.client.client import SecretClient

OPTION: Final = "--template"
POLL: Final = 60.0
"""Seconds between two reads of every secret that a template names."""

Command = tuple[str, ...]


@dataclass
class KeptTemplates:
    """Files with their templates, and commands to run after changes. A failed one runs again at the next read."""

    templates: Mapping[Path, Template]
    commands: Mapping[Path, Command]
    mode: int
    _pending: set[Command] = field(default_factory=set)

    def begin(self, client: "SecretClient") -> Follower:
        """Write all files and follow their secrets. Raises the errors of reading, rendering and writing."""
        declaration = Declaration(templates=self.templates, mode=self.mode)
        rendering = declaration.render(client)
        self._write(rendering)
        try:
            self._run_commands()
        except KeyturnError as error:
            note(str(error))  # whoever is told of the files may begin later than this
        longest = PATIENCE + COMMAND_TIMEOUT * len(self.commands)
        follower = Follower(
            client, declaration, rendering, self._submit, lambda: bool(self._pending), note, POLL, longest
        )
        follower.begin()
        return follower

    def _submit(self, rendering: Rendering | KeyturnError) -> "Future[None]":
        future = Future[None]()
        try:
            if isinstance(rendering, KeyturnError):
                raise rendering
            self._write(rendering)
            self._run_commands()
        except KeyturnError as error:
            future.set_exception(error)
        else:
            future.set_result(None)
        return future

    def _write(self, rendering: Rendering) -> None:
        written = {output.file for output in write_outputs(rendering.outputs)}
        self._pending |= {command for file, command in self.commands.items() if file in written}

    def _run_commands(self) -> None:
        for command in sorted(self._pending):
            run_command(command)
            self._pending.discard(command)


def templates_of(options: Sequence[str], mode: int) -> KeptTemplates:
    """Parse ``SOURCE:DEST[:COMMAND]`` and read the templates. Raises BadParameter for anything else."""
    templates: dict[Path, Template] = {}
    commands: dict[Path, Command] = {}
    for text in options:
        source, name, *action = [*text.split(":", 2), ""][:3]
        if not source or not os.path.isabs(name):
            raise wrong(OPTION, "write SOURCE:DEST or SOURCE:DEST:COMMAND, with an absolute path as DEST")
        place = Path(os.path.abspath(name))
        put_once(templates, place, Template.load(Path(source)), OPTION)
        if action[0]:
            commands[place] = command_of(action[0])
    return KeptTemplates(templates, commands, mode)


def command_of(text: str) -> Command:
    """Parse a command, which runs without a shell. Raises BadParameter for a restart or a signal."""
    try:
        reaction = Reaction.parse_any(text)
    except ValueError:
        raise wrong(OPTION, "write a command behind the second colon") from None
    if not reaction.command:
        raise wrong(OPTION, "an agent has no program to restart or to send a signal: write a command")
    return reaction.command


def run_command(command: Command) -> None:
    """Run a command. Raises Unavailable if it fails, or times out; then its process group is killed."""
    environment = without_logins(INHERITED)
    hint = "It is run again with the next look"
    try:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
    except OSError as error:
        raise Unavailable("run", command[0], os.strerror(error.errno or 0), hint) from None
    with process:
        try:
            code = process.wait(COMMAND_TIMEOUT)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise Unavailable("run", command[0], f"it took longer than {COMMAND_TIMEOUT:.0f} s", hint) from None
    if code:
        raise Unavailable("run", command[0], f"it ended with code {code}", hint)
