"""The catalogue as the rest of the code sees it: every secret, its rotation, destinations and consumers."""

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
"""How long a canary may be watched: half of what a run may take that rotates."""

DEFAULT_ID: Final = "default"
"""The id of a catalogue that declares none: the only one of its hub."""


class RolloutSettings(Model):
    """Consumers are told in two waves: the rest only once the canary is well."""

    canary: Annotated[tuple[Line, ...], Field(min_length=1)]
    """The consumers that are told first; where one does not take the new value, the previous one is put back."""
    pause: Duration = timedelta(0)
    """How long to watch the canary before it is asked for its health and the rest is told."""
    health: bool = True
    """Ask each canary for GET {url}/api/secrets/health after the pause."""

    @model_validator(mode="after")
    def _pause_within_a_run(self) -> Self:
        if self.pause > PAUSE_LIMIT:
            message = f"pause ({show(self.pause)}) is longer than {show(PAUSE_LIMIT)}"
            raise refused(message, "Shorten it: the run that watches the canary ends after four hours.", "pause")
        return self


def spread_fields(places: tuple[Destination, ...]) -> tuple[Destination, ...]:
    """The places with those of each field's copy one by one."""
    return tuple(destination for place in places for destination in place.spread())


_Found = TypeVar("_Found")


class SecretDeclaration(Model):
    """What the files say about one secret."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    owner: Line
    """Who answers for the secret, as an address that reaches them."""
    classification: Classification
    """How bad it is when somebody else reads it: public, internal, confidential or restricted."""
    description: str | None = None
    """What it is for."""
    labels: Labels = Field(default_factory=dict)
    """What else it is chosen by, such as `team: payments`; they are written to no copy."""
    rotation: Rotation
    """How and when it is replaced."""
    public_fields: tuple[Line, ...] = ()
    """Fields that are no secret, such as a note: a revocation may keep them, and is proven all the same."""
    pushed_to: Annotated[tuple[Destination, ...], AfterValidator(spread_fields), Field(alias="destinations")] = ()
    """The places it is pushed to."""
    consumers: tuple[Line, ...] = ()
    """The names of the applications that are told when it changes."""
    rollout: RolloutSettings | None = None
    """Tell some of the consumers first; without it, all of them at once."""
    decoy: bool = False
    """Nobody uses it: each attempt to read it is an alarm. Nothing that others can see of it says so."""
    drill: PositiveDuration | None = None
    """How often it is revoked to see how long that takes, by the flow `drill`: below drills/ alone, and used by nobody
    who needs it."""

    @property
    def destinations(self) -> tuple[DeclaredPlace, ...]:
        """The places it is pushed to; of copies for each field that fits a pattern, the pattern."""
        return tuple(map(place_of, self.pushed_to))

    @property
    def about(self) -> About:
        """What it is chosen by, besides its path."""
        return About(self.owner, self.classification, self.labels)


class Secret(SecretDeclaration):
    """One declared secret, which knows its own path."""

    path: str
    """Its path in the hub's KV mount, with the mount's name before it where that is not the default one."""


class Catalogue(Model):
    """Everything that is declared: :func:`keyturn.catalogue.load_catalogue` gives it, and has checked it whole."""

    id: str = DEFAULT_ID
    """What it is called in the marks of its copies, which tells them from those of another catalogue of the hub."""

    stores: dict[str, StoreSettings] = Field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Entries that stand for several of ``stores``, and those stores' names."""
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
    """What `keyturn setup hub --apply` makes in the hub besides what the rest of the catalogue needs there."""
    keys: dict[str, KeySettings] = Field(default_factory=dict)
    policy: OperatorsPolicy = Field(default_factory=OperatorsPolicy)
    """What the operator of this machine lets catalogues do."""
    digest: str = ""
    """Of the files that it was loaded from, all names and all bytes: 64 hex digits, as its signature lists them."""
    waived: tuple[str, ...] = ()
    """What it asks for and may not have here, where somebody has let that pass for this once."""
    left_out: tuple[Problem, ...] = ()
    """What is broken and was left out, because a revocation does not wait for a repair."""

    @property
    def mount_paths(self) -> dict[str, str]:
        """Where each mount is in the hub, by its name."""
        return {name: mount.mount for name, mount in self.mounts.items()}

    def secret(self, path: str) -> Secret:
        """The secret at ``path``. Raises NotFound with the one likely meant."""
        return self._entry("secret", path, self.secrets)

    def destinations(self, path: str) -> tuple[DeclaredPlace, ...]:
        """The places that the secret at ``path`` is pushed to; one that is not declared may fit a sync's paths too."""
        if path in self.secrets:
            return self.secrets[path].destinations
        syncs = [sync for sync in self.syncs.values() if path in sync.paths or self.listed_by_operator(path)]
        return tuple(destination for sync in syncs for destination in sync.destinations(path, None, self.mounts))

    def is_unlisted(self, path: str) -> bool:
        """Whether only a sync's pattern matches the secret: it is not declared, and the operator's file lacks it."""
        if path in self.secrets or self.destinations(path):
            return False
        return any(sync.covers(path, None, self.mounts) for sync in self.syncs.values())

    def listed_by_operator(self, path: str) -> bool:
        """Whether the operator's file allows syncs to copy the secret at ``path`` although it is not declared."""
        return any(covers(pattern, path, self.mounts) for pattern in self.policy.undeclared)

    def forbids(self, path: str, store: str) -> str:
        """Why a rule keeps the copies of a secret out of a store; empty where none does.

        Of declared secrets it is known that none does: the catalogue would not have been read.
        """
        if not self.rules or path in self.secrets:
            return ""
        ruling = ((name, rule) for name, rule in self.rules.items() if rule.covers(path, None, self.mounts))
        refusals = ((name, rule.refuses(store, self.store(store))) for name, rule in ruling)
        return next((f"the rule {name} {why[0]}" for name, why in refusals if why), "")

    def freezes_of(self, path: str) -> tuple[Freeze, ...]:
        """The freezes that hold the secret at ``path``, past ones too."""
        return tuple(freeze.policy(name) for name, freeze in self.freezes.items() if freeze.covers(path))

    def store(self, name: str) -> StoreSettings:
        """The store of that name. Raises NotFound with the one likely meant."""
        if several := self.groups.get(name):
            raise NotFound("find", f"store {name}", "it stands for several stores", f"Name one: {', '.join(several)}")
        return self._entry("store", name, self.stores)

    def members(self, name: str) -> tuple[str, ...]:
        """The stores that a name stands for: itself, or those of a group. Raises NotFound with the one likely meant."""
        return self.groups.get(name) or (self._known("store", name, self.stores),)

    def target(self, name: str) -> TargetSettings:
        """The target of that name. Raises NotFound with the one likely meant."""
        return self._entry("target", name, self.targets)

    def access_log(self, name: str) -> AccessLogSettings:
        """The access log of that name. Raises NotFound with the one likely meant."""
        return self._entry("access log", name, self.access_logs)

    def key(self, name: str) -> KeySettings:
        """The managed key of that name. Raises NotFound with the one likely meant."""
        return self._entry("key", name, self.keys)

    def consumer(self, name: str) -> ConsumerSettings:
        """The consumer of that name. Raises NotFound with the one likely meant."""
        return self._entry("consumer", name, self.consumers)

    def left_out_of(self, path: str) -> tuple[Problem, ...]:
        """What was left out that may hold the secret at ``path``, such as a file that can't be parsed."""
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
