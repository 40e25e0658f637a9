"""What generated passwords look like."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from keyturn.core.errors import Invalid
from keyturn.core.passwords import Form, PasswordPolicy
from keyturn.settings.fields import Line, Model, refused


class PasswordSettings(Model):
    """What a generated value looks like."""

    form: Form = Form.PASSWORD
    """password, hex, url-safe (Base64 without padding) or uuid (random, 122 bits: set minimum_entropy: 122)."""
    length: Annotated[int, Field(ge=1, le=1024)] | None = None
    """For password the number of characters, for hex and url-safe the number of random bytes. 32 by default."""
    alphabet: Line | None = None
    """The characters a password is made of, instead of those of its classes: printable ASCII without the space."""
    classes: tuple[Literal["lower", "upper", "digit", "symbol"], ...] | None = None
    """The classes that each password shows; lower, upper and digit by default. The symbols are !*+-.=_~"""
    minimum_entropy: Annotated[float, Field(ge=1, le=8192)] = 128
    """Bits of entropy that the values must hold; rules that can't reach it are refused."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        try:
            _ = self.policy
        except Invalid as error:
            raise refused(error.problem, error.hint) from None
        return self

    @property
    def policy(self) -> PasswordPolicy:
        """The same in the core's words."""
        return PasswordPolicy(self.form, self.length, self.alphabet, self.classes, self.minimum_entropy)
