"""Random values that no target knows: API keys, signing keys and tokens that consumers compare themselves."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from keyturn.core.errors import CandidateRejected
from keyturn.core.ports.strategies import Change
from keyturn.core.sensitive import SecretFields
from keyturn.core.text.passwords import PasswordPolicy, generate, password_flaw
from keyturn.settings.fields import matching, refused
from keyturn.settings.passwords import PasswordSettings
from keyturn.strategies.base import StrategyBase, StrategySettings, Tools


class Generated(StrategyBase):
    """One policy for each field; ``name`` is for errors."""

    def __init__(self, name: str, policies: Mapping[str, PasswordPolicy]) -> None:
        self.name = name
        self.policies = dict(policies)
        self.credential_fields = frozenset(self.policies)

    def mint(self, current: SecretFields | None) -> SecretFields:
        return SecretFields({field: generate(policy) for field, policy in self.policies.items()})

    def verify(self, change: Change) -> None:
        for field, policy in self.policies.items():
            if flaw := self._flaw(change, field, policy):
                raise CandidateRejected("verify", f"{self.name}:{field}", flaw, "Run the rotation again")

    def _flaw(self, change: Change, field: str, policy: PasswordPolicy) -> str | None:
        if field not in change.candidate:
            return "the catalogue asks for this field and the candidate lacks it"
        if change.current and field in change.current and change.current[field] == change.candidate[field]:
            return "the value is the one that serves already"
        return password_flaw(policy, change.candidate[field])


FieldName = Annotated[
    str,
    matching(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", "is not a legal field name", "Use letters, digits and _ . -"),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_.-]{0,63}$"}),
]


class GeneratedSettings(StrategySettings, PasswordSettings):
    """Random values made here, one field or several: API keys, signing keys, tokens."""

    strategy: Literal["generated"]
    """How the secret is replaced."""
    field: FieldName = "value"
    """The field that holds the value, where there is only one."""
    fields: Annotated[dict[FieldName, PasswordSettings], Field(min_length=1)] | None = None
    """Several fields, each with its own rules, instead of `field` and the rules of a single value."""

    def check_rules(self) -> None:
        """Refuse rules that can't be kept, and rules in two places."""
        if self.fields is None:
            super().check_rules()
        elif beside := self.model_fields_set & {"field", *PasswordSettings.model_fields}:
            problem = f"fields is given together with {', '.join(sorted(beside))}"
            raise refused(problem, "Move these into each field, or remove fields.", "fields")

    @property
    def policies(self) -> Mapping[str, PasswordPolicy]:
        if self.fields is not None:
            return {name: rules.policy for name, rules in self.fields.items()}
        return {self.field: self.policy}

    @property
    def declared_fields(self) -> frozenset[str]:
        return frozenset(self.policies)

    def open(self, path: str, tools: Tools) -> Generated:
        return Generated(path, self.policies)
