"""Random values that no target knows: API keys, signing keys and tokens that consumers compare themselves."""

from collections.abc import Mapping, Sequence

from keyturn.core.errors import CandidateRejected
from keyturn.core.passwords import PasswordPolicy, flaw, generate
from keyturn.core.sensitive import SecretFields
from keyturn.core.strategies import Change


class Generated:
    """One policy for each field; ``name`` stands in errors."""

    mints_at_target = False

    def __init__(self, name: str, policies: Mapping[str, PasswordPolicy]) -> None:
        self.name = name
        self.policies = dict(policies)

    def before_mint(self) -> Sequence[str]:
        """Nothing: a mint makes only texts."""
        return ()

    def mint(self, current: SecretFields | None) -> SecretFields:
        """A new value for every field."""
        return SecretFields({field: generate(policy) for field, policy in self.policies.items()})

    def sweep(self, before: Sequence[str], known: Sequence[SecretFields]) -> None:
        """Nothing to remove."""

    def install(self, change: Change) -> None:
        """Nothing: there is no target."""

    def verify(self, change: Change) -> None:
        """Check each value against its policy, and that it is new."""
        for field, policy in self.policies.items():
            if said := self._flaw(change, field, policy):
                raise CandidateRejected("verify", f"{self.name}:{field}", said, "Run the rotation again")

    def _flaw(self, change: Change, field: str, policy: PasswordPolicy) -> str | None:
        if field not in change.candidate:
            return "the catalogue asks for this field and the candidate lacks it"
        if change.current and field in change.current and change.current[field] == change.candidate[field]:
            return "the value is the one that serves already"
        return flaw(policy, change.candidate[field])

    def abandon(self, change: Change) -> None:
        """Nothing was installed."""

    def ends(self, current: SecretFields) -> Mapping[str, str]:
        """Nothing outside honours the old value."""
        return {}

    def revoke(self, ends: Mapping[str, str], sequence: int) -> None:
        """Nothing to end."""
