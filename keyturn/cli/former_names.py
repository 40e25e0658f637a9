"""Former names of commands and options: they work for one release, and each use prints the new name."""

from collections.abc import Mapping
from typing import Final

COMMANDS: Final[Mapping[str, str]] = {
    "approve": "access approve",
    "bootstrap": "setup prefect --apply",
    "follow": "serve --only follow",
    "forget": "repair forget",
    "hub apply": "setup hub --apply",
    "hub credentials": "setup credentials",
    "hub plan": "setup hub",
    "policy render": "setup store",
    "recover": "repair recover",
    "rehydrate": "repair rehydrate",
    "rename": "repair rename",
    "restore": "backup restore",
    "restore-drill": "backup drill",
    "review": "access review",
    "rotate-own-keys": "keys rotate-own",
}
STILL_RUN: Final = frozenset({"follow"})
"""Those that run as they did: the new one needs more packages, and takes a lease."""

OPTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "access prove": {"-o": "--out"},
    "access review": {"--verdict": "--finding"},
    "dashboard": {"-o": "--out", "--output": "--out"},
    "init": {"--output": "--out"},
    "ledger": {"-o": "--out"},
    "offboard": {"-o": "--out"},
    "plan": {"-o": "--out"},
    "report": {"-o": "--out"},
    "rotate": {"--force": "--now"},
    "setup store": {"-o": "--out", "--output": "--out"},
    "share": {"-o": "--out"},
    "trail": {"-o": "--out"},
}
LAYOUTS: Final = frozenset({"wide", "name", "json"})
"""``-o`` with one of these is the output format, also where it was a file."""


def current_words(words: list[str]) -> tuple[list[str], list[str]]:
    """A command line from its first command on, in today's names; and each change as ``old -> new`` for people."""
    changes = []
    for old, new in COMMANDS.items():
        if begins(words, old):
            changes.append(f"`keyturn {old}` is now `keyturn {new}`")
            if old not in STILL_RUN:
                words = new.split() + words[len(old.split()) :]
            break
    for command, options in OPTIONS.items():
        if begins(words, command):
            for at, word in enumerate(before_program(words)):
                name, equals, value = word.partition("=")
                if name in options and (words[at + 1 : at + 2] or [""])[0] not in LAYOUTS:
                    changes.append(f"{name} of `keyturn {command}` is now {options[name]}")
                    words = [*words[:at], options[name] + equals + value, *words[at + 1 :]]
    return words, changes


def begins(words: list[str], command: str) -> bool:
    """Whether the words begin with those of ``command``."""
    return words[: len(command.split())] == command.split()


def before_program(words: list[str]) -> list[str]:
    """The words before ``--``, which begins another program's."""
    return words[: words.index("--")] if "--" in words else words
