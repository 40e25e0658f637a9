"""What generated passwords look like."""

from typing import Annotated, Literal, Self

from pydantic import Field, WithJsonSchema, model_validator

from keyturn.core.errors import Invalid
from keyturn.core.text.checksummed_tokens import PREFIX
from keyturn.core.text.passwords import Form, PasswordPolicy
from keyturn.settings.fields import Line, Model, refused


class PasswordSettings(Model):
    """What a generated value looks like."""

    form: Form = Form.PASSWORD
    """password, hex, url-safe (Base64 without padding), uuid (random, 122 bits: set minimum_entropy: 122),
    passphrase (English words) or token (a prefix, random letters and digits, a checksum)."""
    length: Annotated[int, Field(ge=1, le=1024)] | None = None
    """For password the number of characters, for hex and url-safe of random bytes, 32 by default; for passphrase the
    number of words, 12 by default; for token the number of random characters, 30 by default."""
    alphabet: Line | None = None
    """The characters a password is made of, instead of those of its classes: printable ASCII without the space."""
    classes: tuple[Literal["lower", "upper", "digit", "symbol"], ...] | None = None
    """The classes that each password shows; lower, upper and digit by default. The symbols are !*+-.=_~"""
    minimum_entropy: Annotated[float, Field(ge=1, le=8192)] = 128
    """Bits of entropy that the values must hold; rules that can't reach it are refused."""
    separator: Annotated[str, WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 1})] | None = None
    """The character between the words of a passphrase, a hyphen by default: a digit, a space or a sign of ASCII."""
    prefix: Annotated[Line, WithJsonSchema({"type": "string", "pattern": f"^{PREFIX}$"})] | None = None
    """What a token begins with, such as acme_live, without the underscore after it; required for the form token."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        self.check_rules()
        return self

    def check_rules(self) -> None:
        """Refuse rules that can't be kept."""
        try:
            _ = self.policy
        except Invalid as error:
            raise refused(error.problem, error.hint) from None

    @property
    def policy(self) -> PasswordPolicy:
        return PasswordPolicy(
            self.form,
            self.length,
            self.alphabet,
            self.classes,
            self.minimum_entropy,
            separator=self.separator,
            prefix=self.prefix,
        )
