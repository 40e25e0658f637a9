"""Redaction of texts that people enter into shown fields, such as a username, and that may be secrets.

A password pasted there would reach messages, records and reports. A name is shown if the catalogue declares it or it
looks like one; otherwise a keyed fingerprint is. A password of only lower-case letters, digits and underscores looks
like a name.
"""

import copy
import functools
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, TypeVar, cast

from keyturn.core.errors import KeyturnError
from keyturn.core.ports.strategies import Change, RevokeResult, Strategy
from keyturn.core.sensitive import SecretFields, Sensitive

E = TypeVar("E", bound=KeyturnError)

Fields = Collection[tuple[str, str]]
"""Pairs of field name and text."""

PEOPLES: Final = frozenset({"username", "user", "login", "account", "name", "email"})
"""Fields with texts that people choose, which may hold something other than a name."""

MADE: Final = re.compile(r"v[-_][A-Za-z0-9]+[-_][A-Za-z0-9_.-]*[-_][A-Za-z0-9]{8,20}[-_][0-9]{10}")
"""A user name from Vault's and OpenBao's database engines: requester, role, random text, seconds."""

ACCOUNT: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
"""An account name that SQL accepts unquoted."""

IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_.:/@=+-]{1,300}")
"""A service's id of a key or lease."""

CERTAIN: Final = 8
"""Minimum characters of a text replaced anywhere; shorter ones only as whole words."""

LEAST: Final = 3
"""Minimum characters of a replaced text."""

NAMES: Final = frozenset({"lease_id", "serial", "kid", "fingerprint"})
ENDINGS: Final = ("id", "_id", "Id", "_name", "_sha256")
"""Fields that hold such an id, and the suffixes of others."""


class ShownNames:
    """Which texts in a secret's fields may be shown: ``declared`` ones, and those that look like names.

    The second rule covers names that the catalogue contained before an edit.
    """

    def __init__(self, declared: Collection[str], fingerprint: Callable[[Sensitive], str] | None = None) -> None:
        self._declared = frozenset(declared)
        self._fingerprint = fingerprint

    def shown(self, field: str, text: str) -> str:
        """The text, or the fingerprint of one that may be secret."""
        return text if self.may_show(field, text) else self._hidden(text)

    def told(self, names: Mapping[str, str]) -> str:
        """Return several names as text, such as ``username ml_trainer_a``."""
        return ", ".join(f"{field} {self.shown(field, text)}" for field, text in names.items())

    def may_show(self, field: str, text: str) -> bool:
        """Whether the text in this field is the expected name or id."""
        if text in self._declared:
            return True
        if field in PEOPLES:
            return any(name.fullmatch(text) for name in (ACCOUNT, MADE))
        return (field in NAMES or field.endswith(ENDINGS)) and IDENTIFIER.fullmatch(text) is not None

    def clean(self, message: str, fields: Fields) -> str:
        """Replace each text of these fields that may not be shown by its fingerprint."""
        for text in sorted({text for field, text in fields if not self.may_show(field, text)}, key=len, reverse=True):
            if len(text) >= CERTAIN:
                message = message.replace(text, self._hidden(text))
            elif len(text) >= LEAST:
                message = re.sub(rf"(?<!\w){re.escape(text)}(?!\w)", self._hidden(text), message)
        return message

    def _hidden(self, text: str) -> str:
        with suppress(KeyturnError):
            if self._fingerprint:
                return f"(not shown, fingerprint {self._fingerprint(Sensitive(text))})"
        return "(not shown)"


class Discreet:
    """A strategy whose errors, ``in_use`` and ``revoke`` show no field values but names."""

    def __init__(self, strategy: Strategy, names: Callable[[], ShownNames]) -> None:
        self._strategy = strategy
        self._names = names

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._strategy, name)
        return (
            functools.partial(self._ask, name, attribute)
            if callable(attribute) and not name.startswith("_")
            else attribute
        )

    def _ask(self, verb: str, ask: Callable[..., Any], *args: Any, **named: Any) -> Any:
        try:
            answer = ask(*args, **named)
        except KeyturnError as error:
            raise self._cleaned(error, self._texts((args, tuple(named.values())))) from None
        if verb == "in_use":
            return self._clean(answer, self._texts((args, tuple(named.values())))) if answer else answer
        if isinstance(answer, RevokeResult) and answer.outlives:
            return replace(answer, outlives=self._clean(answer.outlives, self._texts((args, tuple(named.values())))))
        return answer

    def _cleaned(self, error: E, fields: Fields) -> E:
        made, names = copy.copy(error), self._names()
        for part in ("doing", "name", "problem", "hint", "step"):
            setattr(made, part, names.clean(getattr(error, part), fields))
        made.args = tuple(
            names.clean(argument, fields) if isinstance(argument, str) else argument for argument in error.args
        )
        return made

    def _clean(self, messages: Iterable[str], fields: Fields) -> tuple[str, ...]:
        names = self._names()
        return tuple(names.clean(message, fields) for message in messages)

    def _texts(self, argument: Any) -> list[tuple[str, str]]:
        """The texts passed to a method: a secret's credential and name fields."""
        if isinstance(argument, Change):
            return self._texts((argument.candidate, argument.current))
        if isinstance(argument, SecretFields):
            wanted = {*self._strategy.credential_fields, *PEOPLES}
            return [
                (name, text) for name, text in argument.reveal().items() if name in wanted and isinstance(text, str)
            ]
        if isinstance(argument, Mapping):
            return [(name, text) for name, text in argument.items() if isinstance(text, str)]
        return [pair for part in argument for pair in self._texts(part)] if isinstance(argument, tuple | list) else []


def discreet(strategy: Strategy, names: Callable[[], ShownNames]) -> Strategy:
    """The strategy redacted by ``names``, which is called only when needed."""
    return cast(Strategy, Discreet(strategy, names))
