"""Evaluate policies without side effects, and index them by subject."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from keyturn.catalogue.access_policies import AccessPolicySettings, Effect
from keyturn.catalogue.models import Catalogue
from keyturn.grants.conditions import objections
from keyturn.grants.facts import AccessFacts, Subject
from keyturn.settings.durations import show

NO_POLICY: Final = "no policy covers this secret and requester"
NO_GLASS: Final = "it allows no break-glass"


@dataclass(frozen=True)
class Ruling:
    """One policy's result for a request. ``against`` explains why it doesn't apply."""

    name: str
    policy: AccessPolicySettings
    against: tuple[str, ...] = ()

    @property
    def applies(self) -> bool:
        """Whether all its conditions hold."""
        return not self.against


@dataclass(frozen=True)
class AccessDecision:
    """Whether a request is allowed, and why, with the ``rulings`` of all its policies."""

    rulings: tuple[Ruling, ...]
    by: Ruling | None = None
    denied_by: tuple[Ruling, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether it may be given once approved."""
        return self.by is not None and not self.denied_by

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it may not be given, or empty."""
        if self.denied_by:
            return tuple(f"the policy {ruling.name} denies it" for ruling in self.denied_by)
        if self.allowed:
            return ()
        allowing = [ruling for ruling in self.rulings if ruling.policy.effect is Effect.ALLOW]
        why = (f"the policy {ruling.name} does not apply: {reason}" for ruling in allowing for reason in ruling.against)
        return tuple(why) or (NO_POLICY,)


class PolicyIndex:
    """A catalogue's policies by subject, so that a request checks only relevant ones. Thread-safe."""

    def __init__(self, policies: Mapping[str, AccessPolicySettings], mounts: Collection[str] = ()) -> None:
        self._policies = policies
        self._mounts = mounts
        self._everybody: list[str] = []
        self._entities: dict[str, list[str]] = {}
        self._groups: dict[str, list[str]] = {}
        for name, policy in policies.items():
            self._add(name, policy)

    @classmethod
    def of(cls, catalogue: Catalogue) -> "PolicyIndex":
        """The index of a catalogue's policies."""
        return cls(catalogue.access_policies, catalogue.mounts)

    def _add(self, name: str, policy: AccessPolicySettings) -> None:
        if policy.subjects is None:
            self._everybody.append(name)
            return
        for entity in policy.subjects.entities or ():
            self._entities.setdefault(entity, []).append(name)
        for group in policy.subjects.groups or ():
            self._groups.setdefault(group, []).append(name)

    def about(self, subject: Subject) -> Iterator[tuple[str, AccessPolicySettings]]:
        """Every policy about the subject, once, by name."""
        names = {*self._everybody, *self._entities.get(subject.entity, ())}
        names.update(name for group in subject.groups for name in self._groups.get(group, ()))
        return ((name, self._policies[name]) for name in sorted(names))

    def decide(
        self, facts: AccessFacts, only: str = "", *, break_glass: bool = False, lenient: bool = False
    ) -> AccessDecision:
        """Evaluate the policies. ``only`` is the one policy that may allow it, but every denial counts.

        ``break_glass`` requires a policy that allows it, and all other conditions. Of several allowing policies, the
        one with the fewest approvals wins, then the first by name. Unknown conditions don't cancel a denial. With
        ``lenient``, they neither refuse nor end access.
        """
        rulings = tuple(
            rule(name, policy, facts, break_glass=break_glass, lenient=lenient)
            for name, policy in self.about(facts.subject)
            if policy.covers(facts.path, facts.about, self._mounts)
        )
        denying = tuple(ruling for ruling in rulings if ruling.policy.effect is Effect.DENY and ruling.applies)
        allowing = [
            ruling
            for ruling in rulings
            if ruling.policy.effect is Effect.ALLOW and ruling.applies and only in ("", ruling.name)
        ]
        best = min(allowing, key=lambda ruling: (ruling.policy.approvals, ruling.name), default=None)
        return AccessDecision(rulings, best, denying)


def rule(
    name: str, policy: AccessPolicySettings, facts: AccessFacts, *, break_glass: bool = False, lenient: bool = False
) -> Ruling:
    """Evaluate one policy for a request."""
    denies = policy.effect is Effect.DENY
    # An unknown condition doesn't cancel a denial, and if lenient, doesn't establish one.
    counting = (each for each in objections(policy.conditions, facts) if not each.unknown or denies is lenient)
    against = tuple(objection.words for objection in counting)
    if not denies and facts.duration > policy.maximum:
        against += (f"{show(facts.duration)} is longer than {show(policy.maximum)}",)
    if not denies and facts.about is None:
        against += ("the catalogue does not declare the secret",)
    if not denies and break_glass and not policy.break_glass:
        against += (NO_GLASS,)
    return Ruling(name, policy, against)
