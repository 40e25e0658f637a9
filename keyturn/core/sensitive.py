"""A value that refuses to be printed, pickled, copied into JSON or formatted into a message."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn

MASK: Final = "**********"


class Sensitive:
    """Holds one secret text; only :meth:`reveal` gives it out."""

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """The text itself. Call it in the argument list of the call that needs it, and nowhere else."""
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
    """The fields of one secret version; the names are plain, every value is :class:`Sensitive`."""

    __slots__ = ("__fields",)

    def __init__(self, fields: Mapping[str, str | Sensitive]) -> None:
        self.__fields = {
            name: value if isinstance(value, Sensitive) else Sensitive(value) for name, value in fields.items()
        }

    def __getitem__(self, name: str) -> Sensitive:
        return self.__fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.__fields)

    def __len__(self) -> int:
        return len(self.__fields)

    def __repr__(self) -> str:
        return f"SecretFields({', '.join(sorted(self.__fields))})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("SecretFields can't be pickled or copied: pass their path instead")

    def merged(self, newer: Mapping[str, str | Sensitive]) -> "SecretFields":
        """These fields with ``newer`` laid over them; fields that ``newer`` lacks stay."""
        return SecretFields({**self.__fields, **newer})

    def reveal(self) -> dict[str, str]:
        """Every value in clear, for the one call that writes them."""
        return {name: value.reveal() for name, value in self.__fields.items()}
