"""The catalogue as other packages see it: every secret, its rotation, destinations and consumers."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Final, Self, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from keyturn.catalogue.access_logs import AccessLogSettings
from keyturn.catalogue.access_policies import AccessPolicySettings
from keyturn.catalogue.choice import About, Classification, Labels
from keyturn.catalogue.consumers import ConsumerSettings
from keyturn.catalogue.destinations import DeclaredPlace, Destination, SyncSettings, place_of
from keyturn.catalogue.exceptions import ExceptionSettings
from keyturn.catalogue.files.partial import concerning, left_out_entry
from keyturn.catalogue.files.problems import Problem
from keyturn.catalogue.freezes import FreezeSettings
from keyturn.catalogue.grant_accounts import GrantAccountSettings
from keyturn.catalogue.hub_entries import HubEntry
from keyturn.catalogue.keys import KeySettings
from keyturn.catalogue.monitors import MonitorSettings
from keyturn.catalogue.mounts import MountSettings
from keyturn.catalogue.operator.policy import OperatorsPolicy
from keyturn.catalogue.pki import AuthoritySettings
from keyturn.catalogue.routes import RouteSettings
from keyturn.catalogue.rules import RuleSettings
from keyturn.catalogue.stores import StoreSettings
from keyturn.catalogue.targets import TargetSettings
from keyturn.core.errors import NotFound
from keyturn.core.schedule.windows import Freeze
from keyturn.core.text.path_patterns import covers
from keyturn.core.text.suggest import advice
from keyturn.settings.durations import show
from keyturn.settings.fields import Duration, Line, Model, PositiveDuration, refused
from keyturn.strategies.registry import Rotation

PAUSE_LIMIT: Final = timedelta(hours=2)
"""The longest watch of a canary: half of the time limit of a run that rotates."""

DEFAULT_ID: Final = "default"
"""The id of a catalogue that declares none, the only one of its hub."""


class RolloutSettings(Model):
    """A rollout in two waves: the other consumers follow once the canary is healthy."""

    canary: Annotated[tuple[Line, ...], Field(min_length=1)]
    """The consumers to notify first; if one does not accept the new value, the previous one is restored."""
    pause: Duration = timedelta(0)
    """The time to watch the canary before the health check and the other notices."""
    health: bool = True
    """Whether to request GET {url}/api/secrets/health of each canary after the pause."""

    @model_validator(mode="after")
    def _pause_within_a_run(self) -> Self:
        if self.pause > PAUSE_LIMIT:
            message = f"pause ({show(self.pause)}) is longer than {show(PAUSE_LIMIT)}"
            raise refused(message, "Shorten it: the run that watches the canary ends after four hours.", "pause")
        return self


def spread_fields(places: tuple[Destination, ...]) -> tuple[Destination, ...]:
    return tuple(destination for place in places for destination in place.spread())


_Found = TypeVar("_Found")


class SecretDeclaration(Model):
    """The declaration of one secret."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    owner: Line
    """The contact address of the person or team responsible."""
    classification: Classification
    """The damage if others read it: public, internal, confidential or restricted."""
    description: str | None = None
    """The purpose of the secret."""
    labels: Labels = Field(default_factory=dict)
    """Further properties to choose it by, such as `team: payments`; not written to copies."""
    rotation: Rotation
    """The rotation strategy and schedule."""
    public_fields: tuple[Line, ...] = ()
    """Fields that are not secret, such as a note: a revocation may keep them and still be complete."""
    pushed_to: Annotated[tuple[Destination, ...], AfterValidator(spread_fields), Field(alias="destinations")] = ()
    """The places to which it is pushed."""
    consumers: tuple[Line, ...] = ()
    """The names of the applications to notify of changes."""
    rollout: RolloutSettings | None = None
    """Consumers to notify first; by default, all at once."""
    decoy: bool = False
    """Whether it is a decoy that no one uses: each attempt to read it is an alarm. Nothing visible to others reveals
    it."""
    drill: PositiveDuration | None = None
    """The interval of its practice revocations by the flow `drill`; only for secrets below drills/ that no one
    needs."""
    dead_within: PositiveDuration | None = None
    """The objective of a revocation: the time until its target refuses the old credential. A weekly rehearsal measures
    it."""

    @property
    def destinations(self) -> tuple[DeclaredPlace, ...]:
        """The places to which it is pushed; for fields chosen by a pattern, the pattern."""
        return tuple(map(place_of, self.pushed_to))

    @property
    def about(self) -> About:
        return About(self.owner, self.classification, self.labels)


class Secret(SecretDeclaration):
    """A declared secret with its path."""

    path: str
    """Its path in the hub's KV mount, with the prefix of the mount's name unless it is the default mount."""


class Catalogue(Model):
    """All declarations, checked as a whole by :func:`keyturn.catalogue.load_catalogue`.

    Lookups by name raise NotFound with the likely name.
    """

    id: str = DEFAULT_ID
    """The id in the marks of its copies, which distinguishes catalogues of one hub."""

    stores: dict[str, StoreSettings] = Field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """The member stores of each group by its name."""
    targets: dict[str, TargetSettings] = Field(default_factory=dict)
    consumers: dict[str, ConsumerSettings] = Field(default_factory=dict)
    secrets: Mapping[str, Secret] = Field(default_factory=dict)
    freezes: dict[str, FreezeSettings] = Field(default_factory=dict)
    syncs: dict[str, SyncSettings] = Field(default_factory=dict)
    mounts: dict[str, MountSettings] = Field(default_factory=dict)
    rules: dict[str, RuleSettings] = Field(default_factory=dict)
    monitors: dict[str, MonitorSettings] = Field(default_factory=dict)
    access_logs: dict[str, AccessLogSettings] = Field(default_factory=dict)
    exceptions: dict[str, ExceptionSettings] = Field(default_factory=dict)
    access_policies: dict[str, AccessPolicySettings] = Field(default_factory=dict)
    grants: dict[str, GrantAccountSettings] = Field(default_factory=dict)
    pki: dict[str, AuthoritySettings] = Field(default_factory=dict)
    hub: dict[str, HubEntry] = Field(default_factory=dict)
    """Further objects that `keyturn setup hub --apply` makes in the hub."""
    keys: dict[str, KeySettings] = Field(default_factory=dict)
    routes: dict[str, RouteSettings] = Field(default_factory=dict)
    policy: OperatorsPolicy = Field(default_factory=OperatorsPolicy)
    """The permissions that the operator of this machine gives to catalogues."""
    digest: str = ""
    """The digest of the files' names and bytes, in 64 hex digits, as for its signature."""
    waived: tuple[str, ...] = ()
    """Breaches of the operator's policy that a person has overridden for this load."""
    left_out: tuple[Problem, ...] = ()
    """Broken parts that were left out, because a revocation does not wait for a repair."""

    @property
    def unneeded_queues(self) -> frozenset[str]:
        """The work queues of what it does not declare: temporary access, and backups."""
        needed = {"granter": self.access_policies, "backup": self.policy.backups}
        return frozenset(queue for queue, declared in needed.items() if not declared)

    @property
    def unneeded(self) -> frozenset[str]:
        """The work queues and deployments of what it does not declare."""
        rehearsed = any(secret.dead_within for secret in self.secrets.values())
        return self.unneeded_queues | (frozenset() if rehearsed else {"rehearse"})

    @property
    def mount_paths(self) -> dict[str, str]:
        return {name: mount.mount for name, mount in self.mounts.items()}

    def secret(self, path: str) -> Secret:
        return self._entry("secret", path, self.secrets)

    def destinations(self, path: str) -> tuple[DeclaredPlace, ...]:
        """The places of the secret at ``path``; an undeclared one may match a sync's paths."""
        if path in self.secrets:
            return self.secrets[path].destinations
        syncs = [sync for sync in self.syncs.values() if path in sync.paths or self.listed_by_operator(path)]
        return tuple(destination for sync in syncs for destination in sync.destinations(path, None, self.mounts))

    def is_unlisted(self, path: str) -> bool:
        """Whether a sync's pattern matches the secret, but it is neither declared nor in the operator's file."""
        if path in self.secrets or self.destinations(path):
            return False
        return any(sync.covers(path, None, self.mounts) for sync in self.syncs.values())

    def listed_by_operator(self, path: str) -> bool:
        """Whether the operator's file allows syncs to copy the undeclared secret at ``path``."""
        return any(covers(pattern, path, self.mounts) for pattern in self.policy.undeclared)

    def forbids(self, path: str, store: str) -> str:
        """The rule against copies of the secret in the store; empty if none.

        Always empty for a declared secret: otherwise the catalogue would not have loaded.
        """
        if not self.rules or path in self.secrets:
            return ""
        ruling = ((name, rule) for name, rule in self.rules.items() if rule.covers(path, None, self.mounts))
        refusals = ((name, rule.refuses(store, self.store(store))) for name, rule in ruling)
        return next((f"the rule {name} {why[0]}" for name, why in refusals if why), "")

    def freezes_of(self, path: str) -> tuple[Freeze, ...]:
        return tuple(freeze.policy(name) for name, freeze in self.freezes.items() if freeze.covers(path))

    def store(self, name: str) -> StoreSettings:
        if several := self.groups.get(name):
            raise NotFound("find", f"store {name}", "it matches several stores", f"Name one: {', '.join(several)}")
        return self._entry("store", name, self.stores)

    def members(self, name: str) -> tuple[str, ...]:
        return self.groups.get(name) or (self._known("store", name, self.stores),)

    def target(self, name: str) -> TargetSettings:
        return self._entry("target", name, self.targets)

    def access_log(self, name: str) -> AccessLogSettings:
        return self._entry("access log", name, self.access_logs)

    def key(self, name: str) -> KeySettings:
        return self._entry("key", name, self.keys)

    def consumer(self, name: str) -> ConsumerSettings:
        return self._entry("consumer", name, self.consumers)

    def left_out_of(self, path: str) -> tuple[Problem, ...]:
        return concerning(self.left_out, path)

    def _entry(self, what: str, name: str, entries: Mapping[str, _Found]) -> _Found:
        return entries[self._known(what, name, entries)]

    def _known(self, what: str, name: str, entries: Mapping[str, object]) -> str:
        if name in entries:
            return name
        section = f"{what.replace(' ', '_')}s"
        if problem := left_out_entry(self.left_out, section, name):
            raise NotFound("find", f"{what} {name}", f"its entry was left out: {problem}".rstrip("."), "")
        hint = advice(name, entries, f"The catalogue declares no {what} at all.")
        missing = "the catalogue does not declare it"
        if unread := next((problem for problem in self.left_out if not problem.path), None):
            missing = f"what loads of the catalogue does not declare it; {unread.file} was left out"
        raise NotFound("find", f"{what} {name}", missing, hint)
