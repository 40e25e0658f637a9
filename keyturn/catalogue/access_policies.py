"""Who may be given access to which secrets for a while, under which conditions, and who has to approve it."""

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
"""How long access may last at most, whatever a policy says: a working day. What is needed for longer is no grant."""

MOST_APPROVERS: Final = 20

KEEP: Final = timedelta(days=90)
"""How long what has ended stays in the listing, where a policy does not say."""

SECTION: Final = "grants"
"""The section of the catalogue that says which accounts Keyturn makes itself."""

LOW: Final = frozenset({Classification.PUBLIC, Classification.INTERNAL})
"""The classifications whose secrets may be given without anybody's approval."""


class Effect(StrEnum):
    """What a policy that fits a request does. A denial goes before whatever allows."""

    ALLOW = "allow"
    DENY = "deny"


class IncidentCondition(StrEnum):
    """What has to be so of the secret's incidents."""

    OPEN = "open"
    NONE = "none"


class AlertCondition(StrEnum):
    """What has to be so of alerts about odd reads."""

    NONE = "none"


Names = Annotated[tuple[Line, ...], AfterValidator(no_repeats), Field(min_length=1)]


class SubjectSettings(Model):
    """Whom a policy is about: whoever is named, or is in a group that is."""

    entities: Names | None = None
    """Ids of entities in the hub, as `vault read identity/entity/name/NAME` shows them."""
    groups: Names | None = None
    """Ids of groups in the hub, as `vault read identity/group/name/NAME` shows them; members of groups in them too."""

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not (self.entities or self.groups):
            raise refused("names nobody", "Add entities or groups.")
        return self


class ConditionSettings(Model):
    """What has to be so besides when access is asked for and given. All that is given has to hold."""

    hours: HoursSettings | None = None
    """Between these hours of a day."""
    timezone: Timezone = "UTC"
    """The time zone of hours: its name in the IANA database, such as Europe/Berlin."""
    weekends: bool = True
    """Whether also on Saturdays and Sundays."""
    networks: Annotated[tuple[NetworkText, ...], Field(min_length=1)] | None = None
    """The hub binds the login to addresses (token_bound_cidrs), all of them within these networks."""
    logins: Names | None = None
    """The login was made at one of these auth methods of the hub, by their mounts, such as oidc: those that ask for a
    second factor."""
    login_within: PositiveDuration | None = None
    """The login was made no longer ago than this, and with it its second factor."""
    metadata: Annotated[dict[Line, Line], Field(min_length=1)] | None = None
    """What the hub's login metadata tells, such as `device: managed`."""
    incident: IncidentCondition | None = None
    """An incident holds the secret (open), or none does (none)."""
    alerts: AlertCondition | None = None
    """No alert about odd reads was about who asks within a day (none)."""


class AccessPolicySettings(Choice):
    """Who may be given access to the chosen secrets for a while."""

    effect: Effect = Effect.ALLOW
    """What it does: allow or deny. A denial goes before whatever allows."""
    subjects: SubjectSettings | None = None
    """Whom it is about; everybody, where it denies and names nobody."""
    conditions: ConditionSettings = Field(default_factory=ConditionSettings)
    """What has to be so besides; where it denies, when it does."""
    credential: EngineCredential | None = None
    """Where the hub makes the credential, such as `database/creds/ml-reader`: the role of a database engine that the
    section `hub:` declares for the secret's own target."""
    grant: Line | None = None
    """Instead of credential: the entry of `grants` by which Keyturn makes an account itself."""
    maximum: PositiveDuration = timedelta(hours=1)
    """How long access may last at most."""
    approvers: Annotated[tuple[Line, ...], AfterValidator(no_repeats), Field(max_length=MOST_APPROVERS)] = ()
    """Who may approve, by the names that the operator's file gives them under approvals; never who asks."""
    approvals: Annotated[int, Field(ge=0, le=MOST_APPROVERS)] = 1
    """How many of them have to. 0 for secrets that are public or internal alone."""
    keep: PositiveDuration = KEEP
    """How long requests that have ended stay in the listing: after that they lie in an archive."""
    break_glass: bool = False
    """Whether who asks may do without approvals, at once: that is told, and somebody else reviews it within a day."""

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
            raise refused("means nothing beside credential", "Keep one of the two.", "grant")
        if self.maximum > LONGEST:
            raise refused("is longer than 12h", "Access for longer is no grant: declare a secret for it.", "maximum")
        if self.break_glass and self.approvals == 0:
            raise refused("means nothing where nobody has to approve it", "Remove it.", "break_glass")
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
        """What is given by it: where the hub makes it, or by which entry of `grants`; empty where it denies."""
        return self.credential or (f"{SECTION}/{self.grant}" if self.grant else "")

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that it says, in hexadecimal digits: another one once it has been changed."""
        text = json.dumps(self.model_dump(mode="json", exclude_defaults=True), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
