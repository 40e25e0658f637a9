"""Reactions to a change of a program's secrets."""

import shlex
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

RESTART_WORD: Final = "restart"
IGNORE_WORD: Final = "ignore"
SIGNAL_PREFIX: Final = "signal:"


@dataclass(frozen=True)
class Reaction:
    restart: bool = False
    number: int = 0
    command: tuple[str, ...] = ()

    @property
    def tells(self) -> bool:
        return self.restart or bool(self.number) or bool(self.command)

    @staticmethod
    def parse(text: str) -> "Reaction":
        """Parse ``restart``, ``ignore`` or ``signal:HUP``. Raises ValueError."""
        if text in (RESTART_WORD, IGNORE_WORD):
            return Reaction(restart=text == RESTART_WORD)
        name = text.removeprefix(SIGNAL_PREFIX).upper().removeprefix("SIG")
        if not text.startswith(SIGNAL_PREFIX) or f"SIG{name}" not in signal.Signals.__members__:
            raise ValueError("write restart, ignore, or signal:NAME such as signal:HUP")
        return Reaction(number=signal.Signals[f"SIG{name}"])

    @staticmethod
    def parse_any(text: str) -> "Reaction":
        """Parse a reaction, or a command with arguments, without a shell. Raises ValueError."""
        if text in (RESTART_WORD, IGNORE_WORD) or text.startswith(SIGNAL_PREFIX):
            return Reaction.parse(text)
        try:
            command = tuple(shlex.split(text))
        except ValueError:
            command = ()
        if not command:
            raise ValueError("write restart, ignore, signal:NAME, or a command")
        return Reaction(command=command)


RESTART: Final = Reaction(restart=True)


def without_needless(reactions: Sequence[Reaction]) -> list[Reaction]:
    restart = any(reaction.restart for reaction in reactions)
    return [reaction for reaction in dict.fromkeys(reactions) if not (restart and reaction.number)]
