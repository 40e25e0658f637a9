"""What a person wrote into a field that is shown, such as a username, and that is no name: it is not passed on.

Messages, records and reports name accounts and keys by fields of the secret. Where somebody has pasted a password or
a token into such a field, all of these would carry it. So a name is shown where the catalogue declares it, or where
it looks like one of its kind; of anything else a keyed fingerprint is shown. A password of lower-case letters, digits
and underscores alone can't be told from a name.
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
"""The names of fields, and the texts in them."""

PEOPLES: Final = frozenset({"username", "user", "login", "account", "name", "email"})
"""Fields whose texts people choose: what is in them is a name only where it is known to be one."""

MADE: Final = re.compile(r"v[-_][A-Za-z0-9]+[-_][A-Za-z0-9_.-]*[-_][A-Za-z0-9]{8,20}[-_][0-9]{10}")
"""A user's name as Vault's and OpenBao's database engines make it: who asked, the role, chance, and seconds."""

ACCOUNT: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
"""An account's name that SQL takes without quotes."""

IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_.:/@=+-]{1,300}")
"""What services give as the id of a key or a lease; one that a field for secrets holds too is none."""

CERTAIN: Final = 8
"""Characters of a text that is looked for anywhere; a shorter one only where it stands as a word of its own."""

LEAST: Final = 3
"""Characters of a text that is looked for at all."""

NAMES: Final = frozenset({"lease_id", "serial", "kid", "fingerprint"})
ENDINGS: Final = ("id", "_id", "Id", "_name", "_sha256")
"""Fields that hold such an id, and how their names end."""


class ShownNames:
    """Which texts of one secret's fields may be shown: those that the catalogue has ``declared``, and what looks so.

    An account that the catalogue named before an edit has to be told, so what looks like one counts too.
    """

    def __init__(self, declared: Collection[str], fingerprint: Callable[[Sensitive], str] | None = None) -> None:
        self._declared = frozenset(declared)
        self._fingerprint = fingerprint

    def shown(self, field: str, text: str) -> str:
        """The text, or the fingerprint of one that may be a secret."""
        return text if self.may_show(field, text) else self._hidden(text)

    def told(self, names: Mapping[str, str]) -> str:
        """Several of them in words, such as ``username ml_trainer_a``."""
        return ", ".join(f"{field} {self.shown(field, text)}" for field, text in names.items())

    def may_show(self, field: str, text: str) -> bool:
        """Whether what stands in this field is the name or the id that belongs there."""
        if text in self._declared:
            return True
        if field in PEOPLES:
            return any(name.fullmatch(text) for name in (ACCOUNT, MADE))
        return (field in NAMES or field.endswith(ENDINGS)) and IDENTIFIER.fullmatch(text) is not None

    def clean(self, message: str, fields: Fields) -> str:
        """What was said, with each text of these fields that may not be shown replaced by its fingerprint."""
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
    """A strategy that tells no fields of its secret but names: in its errors, in ``in_use`` and of a ``revoke``."""

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
        """The texts that a verb was given: of a secret those of the credential, and what stands for its name."""
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
    """The strategy, which tells no more than ``names`` allows; that is asked for once there is something to tell."""
    return cast(Strategy, Discreet(strategy, names))
