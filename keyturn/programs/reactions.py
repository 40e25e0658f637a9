"""What is done about a program when what it was given has changed."""

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
    """A restart, a signal to the program, a command that is run; or nothing."""

    restart: bool = False
    number: int = 0
    command: tuple[str, ...] = ()

    @property
    def tells(self) -> bool:
        """Whether the program hears of the change."""
        return self.restart or bool(self.number) or bool(self.command)

    @staticmethod
    def parse(text: str) -> "Reaction":
        """Read ``restart``, ``ignore`` or ``signal:HUP``. Raises ValueError."""
        if text in (RESTART_WORD, IGNORE_WORD):
            return Reaction(restart=text == RESTART_WORD)
        name = text.removeprefix(SIGNAL_PREFIX).upper().removeprefix("SIG")
        if not text.startswith(SIGNAL_PREFIX) or f"SIG{name}" not in signal.Signals.__members__:
            raise ValueError("write restart, ignore, or signal:NAME such as signal:HUP")
        return Reaction(number=signal.Signals[f"SIG{name}"])

    @staticmethod
    def parse_any(text: str) -> "Reaction":
        """The same, or a command with its arguments, which no shell sees. Raises ValueError."""
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
    """Each of them once; a program that is begun anew needs no signal."""
    restart = any(reaction.restart for reaction in reactions)
    return [reaction for reaction in dict.fromkeys(reactions) if not (restart and reaction.number)]
