"""Which policies a request meets, and what they come to: told purely, and found by an index of whom they are about."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from keyturn.catalogue.access_policies import AccessPolicySettings, Effect
from keyturn.catalogue.models import Catalogue
from keyturn.grants.conditions import objections
from keyturn.grants.facts import AccessFacts, Subject
from keyturn.settings.durations import show

NO_POLICY: Final = "no policy is about this secret and whoever asks"
NO_GLASS: Final = "it lets nobody break the glass"


@dataclass(frozen=True)
class Ruling:
    """What one policy says to a request. ``against`` says why it does not apply; empty where it does."""

    name: str
    policy: AccessPolicySettings
    against: tuple[str, ...] = ()

    @property
    def applies(self) -> bool:
        """Whether all that it asks for is so."""
        return not self.against


@dataclass(frozen=True)
class AccessDecision:
    """Whether access may be given, by which policy, and why not. ``rulings`` are of all policies that are about it."""

    rulings: tuple[Ruling, ...]
    by: Ruling | None = None
    denied_by: tuple[Ruling, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether it may be given, once whom the policy names have approved it."""
        return self.by is not None and not self.denied_by

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it may not; none where it may."""
        if self.denied_by:
            return tuple(f"the policy {ruling.name} denies it" for ruling in self.denied_by)
        if self.allowed:
            return ()
        allowing = [ruling for ruling in self.rulings if ruling.policy.effect is Effect.ALLOW]
        why = (f"the policy {ruling.name} does not apply: {reason}" for ruling in allowing for reason in ruling.against)
        return tuple(why) or (NO_POLICY,)


class PolicyIndex:
    """The policies of a catalogue by whom they are about: a request looks at those that could be about who asks.

    Made once for a catalogue; serves many threads. ``mounts`` are the names of the catalogue's mounts.
    """

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
        """Of all policies that a catalogue declares."""
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
        """Every policy that is about whoever asks, each once, by name."""
        names = {*self._everybody, *self._entities.get(subject.entity, ())}
        names.update(name for group in subject.groups for name in self._groups.get(group, ()))
        return ((name, self._policies[name]) for name in sorted(names))

    def decide(
        self, facts: AccessFacts, only: str = "", *, break_glass: bool = False, lenient: bool = False
    ) -> AccessDecision:
        """What the policies come to. ``only`` is the one policy that may allow it; every denial counts.

        To ``break_glass`` leaves those alone that let somebody do without approvals; all else has to hold as well.

        Of several that allow it, the one counts that asks for the fewest approvals, and of those the first by name.
        A denial whose conditions could not be looked at denies. Where it is ``lenient``, what could not be looked at
        counts for nothing: nobody is refused, and nothing ends, since somebody could not look.
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
    """What one policy says to a request that it is about, which does without approvals to ``break_glass``."""
    denies = policy.effect is Effect.DENY
    # What could not be looked at lets no denial fall away, and where that is lenient, makes none hold.
    counting = (each for each in objections(policy.conditions, facts) if not each.unknown or denies is lenient)
    against = tuple(objection.words for objection in counting)
    if not denies and facts.duration > policy.maximum:
        against += (f"{show(facts.duration)} is longer than {show(policy.maximum)}",)
    if not denies and facts.about is None:
        against += ("the catalogue does not declare the secret",)
    if not denies and break_glass and not policy.break_glass:
        against += (NO_GLASS,)
    return Ruling(name, policy, against)
