"""The registry of parts: a new kind is one line here."""

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from importlib import import_module
from typing import Final

from keyturn.core.errors import Invalid
from keyturn.core.text.suggest import advice
from keyturn.serving.parts import RELAY, Part
from keyturn.serving.site import Site

MakeParts = Callable[[Site], Iterable[Part]]

KINDS: Final = (
    "keyturn.serving.follow_part:follow_parts",
    "keyturn.serving.access_parts:access_parts",
    "keyturn.serving.grants_part:grants_parts",
    "keyturn.serving.numbers.part:numbers_parts",
    "keyturn.serving.numbers.relay:relay_parts",
    "keyturn.serving.backup_part:backup_parts",
)
"""A function of the site for each kind of part, imported only where parts run."""


def make_parts(site: Site, only: Iterable[str] = ()) -> list[Part]:
    """Return all parts of this site, or the named ones; ``*`` matches any text. Raises Invalid where none matches.

    ``*`` never matches the relay, which a process that reads the workspace does not need.
    """
    parts = {part.name: part for kind in KINDS for part in _maker(kind)(site)}
    names = [name for pattern in only or ["*"] for name in _matching(pattern, parts)]
    return [parts[name] for name in dict.fromkeys(names)]


def _matching(pattern: str, parts: Iterable[str]) -> list[str]:
    listed = list(parts)
    if names := [name for name in listed if fnmatchcase(name, pattern) and (name != RELAY or pattern == RELAY)]:
        return names
    hint = advice(pattern, listed, f"Say one of {', '.join(listed)}")
    raise Invalid("run", f"the part {pattern}", "there is none of that name", hint)


def _maker(kind: str) -> MakeParts:
    module, _, function = kind.partition(":")
    maker: MakeParts = getattr(import_module(module), function)
    return maker
