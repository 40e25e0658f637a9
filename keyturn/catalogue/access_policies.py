"""Policies of temporary access to secrets: conditions and approvals."""

import hashlib
import json
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator

from keyturn.catalogue.choice import Choice, Classification
from keyturn.catalogue.monitors import HoursSettings, NetworkText
from keyturn.settings.fields import EngineCredential, Line, Model, PositiveDuration, refused
from keyturn.settings.timing import Timezone, no_repeats

LONGEST: Final = timedelta(hours=12)
"""The longest access that any policy may give: a working day. For longer needs, declare a secret."""

MOST_APPROVERS: Final = 20

KEEP: Final = timedelta(days=90)
"""The default time that ended requests stay in the listing."""

SECTION: Final = "grants"

LOW: Final = frozenset({Classification.PUBLIC, Classification.INTERNAL})
"""The classifications whose secrets need no approval."""


class Effect(StrEnum):
    """The effect of a matching policy. A denial takes precedence."""

    ALLOW = "allow"
    DENY = "deny"


class IncidentCondition(StrEnum):
    """The required state of the secret's incidents."""

    OPEN = "open"
    NONE = "none"


class AlertCondition(StrEnum):
    """The required state of alerts about unusual reads."""

    NONE = "none"


Names = Annotated[tuple[Line, ...], AfterValidator(no_repeats), Field(min_length=1)]


class SubjectSettings(Model):
    """The subjects of a policy: named entities, and members of named groups."""

    entities: Names | None = None
    """Ids of entities in the hub, as `vault read identity/entity/name/NAME` shows them."""
    groups: Names | None = None
    """Ids of groups in the hub, as `vault read identity/group/name/NAME` shows them; nested groups count."""

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not (self.entities or self.groups):
            raise refused("names nobody", "Add entities or groups.")
        return self


class ConditionSettings(Model):
    """Further conditions at request and at grant. All of them must hold."""

    hours: HoursSettings | None = None
    """The hours of a day in which access is possible."""
    timezone: Timezone = "UTC"
    """The time zone of hours: its name in the IANA database, such as Europe/Berlin."""
    weekends: bool = True
    """Whether access is possible on Saturdays and Sundays."""
    networks: Annotated[tuple[NetworkText, ...], Field(min_length=1)] | None = None
    """Networks that contain all addresses to which the hub binds the login (token_bound_cidrs)."""
    logins: Names | None = None
    """Mounts of the hub's auth methods, such as oidc: the login used one of them. Name those with a second factor."""
    login_within: PositiveDuration | None = None
    """The maximum age of the login, and so of its second factor."""
    metadata: Annotated[dict[Line, Line], Field(min_length=1)] | None = None
    """Required values in the hub's login metadata, such as `device: managed`."""
    incident: IncidentCondition | None = None
    """Whether an incident must include the secret (open) or must not (none)."""
    alerts: AlertCondition | None = None
    """Whether the requester must have no alert about unusual reads within a day (none)."""


class AccessPolicySettings(Choice):
    """Who may get temporary access to the chosen secrets."""

    effect: Effect = Effect.ALLOW
    """The effect: allow or deny. A denial takes precedence."""
    subjects: SubjectSettings | None = None
    """The subjects; a denial without subjects applies to everyone."""
    conditions: ConditionSettings = Field(default_factory=ConditionSettings)
    """Further conditions; for a denial, the conditions under which it applies."""
    credential: EngineCredential | None = None
    """The path of the credential in the hub, such as `database/creds/ml-reader`: a database role that the section
    `hub:` declares for the secret's own target."""
    grant: Line | None = None
    """The entry of `grants` for an account that Keyturn makes itself; instead of credential."""
    maximum: PositiveDuration = timedelta(hours=1)
    """The maximum duration of access."""
    approvers: Annotated[tuple[Line, ...], AfterValidator(no_repeats), Field(max_length=MOST_APPROVERS)] = ()
    """The approvers, by their names under approvals in the operator's file. Requesters never approve their own
    request."""
    approvals: Annotated[int, Field(ge=0, le=MOST_APPROVERS)] = 1
    """The number of approvals required. 0 only for public and internal secrets."""
    keep: PositiveDuration = KEEP
    """The time that ended requests stay in the listing before they move to an archive."""
    break_glass: bool = False
    """Whether requesters may skip approvals in an emergency: this is reported, and another person reviews it within a
    day."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.effect is Effect.DENY:
            surplus = {
                "credential",
                "grant",
                "maximum",
                "approvers",
                "approvals",
                "break_glass",
                "keep",
            } & self.model_fields_set
            if surplus:
                raise refused("means nothing where the policy denies", "Remove it.", min(surplus))
            return self
        if self.subjects is None:
            raise refused("is missing", "Say with entities or groups who may ask.", "subjects")
        if self.credential is None and self.grant is None:
            raise refused("is missing", "Write where the hub makes it: database/creds/ROLE.", "credential")
        if self.credential is not None and self.grant is not None:
            raise refused("has no effect next to credential", "Keep one of the two.", "grant")
        if self.maximum > LONGEST:
            raise refused("is longer than 12h", "Access for longer is no grant: declare a secret for it.", "maximum")
        if self.break_glass and self.approvals == 0:
            raise refused("has no effect if no approval is needed", "Remove it.", "break_glass")
        return self._approvable()

    def _approvable(self) -> Self:
        if self.approvals > len(self.approvers):
            raise refused("asks for more approvals than there are approvers", "Name more of them.", "approvers")
        if self.approvals == 0 and (
            self.approvers or not (self.classifications and LOW.issuperset(self.classifications))
        ):
            remedy = "Choose classifications: [internal] or [public] and name no approvers, or ask for one approval."
            raise refused("only what is public or internal is given without approval", remedy, "approvals")
        return self

    @property
    def gives(self) -> str:
        """What the policy gives: a path in the hub or `grants/NAME`; empty for a denial."""
        return self.credential or (f"{SECTION}/{self.grant}" if self.grant else "")

    @cached_property
    def digest(self) -> str:
        text = json.dumps(self.model_dump(mode="json", exclude_defaults=True), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
