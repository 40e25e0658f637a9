"""Values that refuse to be printed, pickled, copied into JSON or formatted into a message."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NoReturn

MASK: Final = "**********"


class Sensitive:
    """Holds one secret text, which only :meth:`reveal` returns."""

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """The text. Call it only in the argument list of the call that needs it."""
        return self.__text

    def __repr__(self) -> str:
        return f"Sensitive('{MASK}')"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sensitive) and self.__text == other.__text

    def __hash__(self) -> int:
        return hash((Sensitive, self.__text))

    def __len__(self) -> int:
        return len(self.__text)

    def __bool__(self) -> bool:
        return bool(self.__text)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Sensitive value can't be pickled or copied: pass its name instead")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> NoReturn:
        raise TypeError("a Sensitive value can't be a model's field: pass its name instead")


class SecretFields(Mapping[str, Sensitive]):
    """The fields of one secret version: plain names, hidden values.

    :meth:`reveal` keeps JSON types (a port stays a number); ``fields[name]`` gives the text.
    """

    __slots__ = ("__fields",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.__fields = {n: v.reveal() if isinstance(v, Sensitive) else v for n, v in fields.items()}

    def __getitem__(self, name: str) -> Sensitive:
        value = self.__fields[name]
        return Sensitive(value if isinstance(value, str) else json.dumps(value))

    def __iter__(self) -> Iterator[str]:
        return iter(self.__fields)

    def __len__(self) -> int:
        return len(self.__fields)

    def __repr__(self) -> str:
        return f"SecretFields({', '.join(sorted(self.__fields))})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretFields) and self.__fields == other.__fields

    __hash__ = None  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("SecretFields can't be pickled or copied: pass their path instead")

    def merged(self, newer: Mapping[str, Any]) -> "SecretFields":
        """Return these fields updated with ``newer``."""
        laid = newer.reveal() if isinstance(newer, SecretFields) else newer
        return SecretFields({**self.__fields, **laid})

    def holds(self, others: "SecretFields") -> bool:
        """Whether it contains every field of ``others`` with the same value."""
        return all(name in self.__fields and self.__fields[name] == value for name, value in others.__fields.items())

    def reveal(self) -> dict[str, Any]:
        """Return every value in clear, for the one call that writes them."""
        return dict(self.__fields)


class StoredFields(SecretFields):
    """Fields in a separate hub entry at ``place``, read by ``read`` on first use.

    That first use raises what ``read`` raises.
    """

    __slots__ = ("__known", "__read", "place")

    def __init__(self, place: str, read: Callable[[], SecretFields]) -> None:
        self.place = place
        self.__read = read
        self.__known: dict[str, Any] | None = None

    @property
    def _SecretFields__fields(self) -> dict[str, Any]:  # noqa: N802  takes the place of the base class's slot
        if self.__known is None:
            self.__known = self.__read().reveal()
        return self.__known

    def __repr__(self) -> str:
        return f"StoredFields({self.place})"

    def __bool__(self) -> bool:
        return True
