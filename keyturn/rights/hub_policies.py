"""The rules of the hub's policies: the rights of each login, and no more.

To store something new in Keyturn's own mount, add a line to :data:`STATE`. To call something new, add a section. Then
``keyturn setup store --everything`` writes deployments/policies.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from keyturn.core.fingerprint_keys import FIRST_KEY, KEYS
from keyturn.core.issued_tokens import GRANT_TOKENS, rules_to_end, rules_to_issue, rules_to_see, rules_to_use
from keyturn.core.ports.backups import RESTORED
from keyturn.core.ports.failover import EPOCH
from keyturn.core.ports.grants import WRAP
from keyturn.core.ports.viewers import DASHBOARD
from keyturn.core.rights.hub_setup import HUB_CHECKS, LISTED, SETUP, Kind
from keyturn.core.rights.rights import ANYTHING, HubRule, Section, allow, merged
from keyturn.grants.access_request import ARCHIVE, GRANTS
from keyturn.grants.notifications import ACCESS_TOLD
from keyturn.keys.key_rotations import MANAGED_KEYS
from keyturn.ledger.forwarding import FORWARDING
from keyturn.ledger.naming import NAMED, SIGNING_KEY
from keyturn.ledger.storage.waiting import UNRECORDED
from keyturn.revocation.incidents.store import INCIDENTS, OFFBOARDINGS
from keyturn.revocation.objectives.record import REHEARSALS
from keyturn.rights.scope import HubScope, SecretPath
from keyturn.rotation.candidates import CANDIDATES, ROTATIONS
from keyturn.rotation.copies.store_status import SYNC
from keyturn.rotation.state.agreements import AGREEMENTS
from keyturn.rotation.state.approvals import APPROVALS
from keyturn.rotation.state.break_glass import BROKEN, REVIEWS
from keyturn.rotation.state.grant_store import DELIVERIES, GRANTED, RECEIPTS
from keyturn.rotation.state.hourly_limits import LIMITS
from keyturn.rotation.state.login_checks import LOGINS
from keyturn.rotation.state.notice_store import NOTICES
from keyturn.rotation.state.quiet_period import QUIET
from keyturn.serving.leases import SERVE
from keyturn.serving.parts import BACKUP, GRANTING, PUBLISHED, RELAY

WORKER: Final = "keyturn-worker"
REVOKER: Final = "keyturn-revoker"
LEASE: Final = "keyturn-lease"
APPROVER: Final = "keyturn-approver"
REQUESTER: Final = "keyturn-requester"
NOTARY: Final = "keyturn-notary"
MONITOR: Final = "keyturn-monitor"
NUMBERS: Final = "keyturn-numbers"
PKI: Final = "keyturn-pki"
PLANNER: Final = "keyturn-planner"
AUDITOR: Final = "keyturn-auditor"
GRANTER: Final = "keyturn-granter"
GRANT: Final = "keyturn-grant"
VIEWER: Final = "keyturn-viewer"
BACKUP_LOGIN: Final = "keyturn-backup"
"""Also the name of the key that signs backups."""
CONSUMER: Final = "consumer"

APPROLE: Final = "auth/approle/role"


def login_policy(role: str) -> str:
    return f"{role}-login"


Sections = Iterator[Section]


@dataclass(frozen=True)
class StatePart:
    """Entries of Keyturn's own mount with one prefix, and the logins that use them.

    ``listed`` is how a worker lists them: by ``names``, or by ``versions`` too, with OpenBao's own listing. ``fixed``
    entries are created once and never changed. An auditor reads ``shown`` entries, which open nothing.
    """

    prefix: str
    written_by: tuple[str, ...] = (WORKER,)
    read_by: tuple[str, ...] = (WORKER,)
    listed: tuple[str, ...] = ()
    fixed: bool = False
    shown: bool = True


LEDGERS: Final = "ledgers"
"""The prefix of the newest checkpoints of the ledgers."""

STATE: Final = (
    StatePart(ROTATIONS, listed=("names", "versions")),
    StatePart(INCIDENTS, written_by=(REVOKER,), listed=("names",)),
    StatePart(OFFBOARDINGS, written_by=(REVOKER,)),
    StatePart(AGREEMENTS, written_by=(), listed=("names",)),
    StatePart(MANAGED_KEYS),
    StatePart(HUB_CHECKS),
    StatePart(LOGINS),
    StatePart(REHEARSALS),
    StatePart(NOTICES),
    StatePart(QUIET),
    StatePart(SYNC, listed=("names",)),
    StatePart(LEDGERS, written_by=(NOTARY,), read_by=(NOTARY, WORKER, MONITOR, GRANTER), listed=("names",)),
    StatePart(FORWARDING, written_by=(NOTARY,), read_by=(NOTARY, WORKER), listed=("names",)),
    StatePart(LIMITS),
    StatePart(APPROVALS, listed=("names",)),
    StatePart(BROKEN, listed=("names",), fixed=True),
    StatePart(REVIEWS, written_by=(), listed=("names",)),
    StatePart(GRANTS, written_by=(), listed=("names",)),
    StatePart(ARCHIVE, written_by=(), listed=("names",)),
    StatePart(PUBLISHED, read_by=(WORKER, NUMBERS)),
    StatePart(SERVE, written_by=(WORKER, MONITOR), listed=("names",)),
    StatePart(GRANTED, written_by=(GRANTER,), listed=("names",)),
    StatePart(DELIVERIES, written_by=(GRANTER,), read_by=(GRANTER,), shown=False),
)
"""Keyturn's entries in its own mount, except the entries that people write and the keys of fingerprints."""


def worker(scope: HubScope) -> Sections:
    yield Section(
        "Its own token: look up its owner, rights and lifetime, and renew it. The hub's policy"
        " `default` allows most of it too.",
        tuple(own_token()),
    )
    yield Section(
        "The secrets themselves: read them, and promote new versions.",
        tuple(allow(at("data", secret), "create", "read", "update") for secret in scope.secrets),
    )
    yield Section(
        "Undeleting a version at a person's request (`keyturn rotate PATH --from VERSION`).",
        tuple(allow(at("undelete", secret), "update", versions=()) for secret in scope.secrets),
    )
    yield Section(
        "The custom metadata alone: not how many versions are kept or how long, nor who may write without"
        " compare-and-set.",
        tuple(allow(at("metadata", secret), "read", "patch", custom_metadata=()) for secret in scope.secrets),
    )
    yield Section(
        "What there is, by names and metadata, without values: a whole mount is listed at once. OpenBao "
        "lists many secrets in one request; Vault has no detailed-metadata, and needs no rule for it.",
        tuple(
            allow(f"{mount}/{kind}/*", "list") for mount in scope.mounts for kind in ("metadata", "detailed-metadata")
        ),
    )
    yield Section(
        "What a sync copies though the catalogue does not declare it: to read.",
        tuple(rule for secret in scope.copied for rule in _readable(secret)),
    )
    yield Section(
        "Keyturn's own state. No other identity may read this mount. Only the newest version of each entry is kept.",
        tuple(rule for part in STATE for rule in state(scope, part, WORKER)),
    )
    yield Section(
        "The values of open rotations: each is written once, read until its rotation is over, and removed then.",
        (
            allow(f"{scope.places.state_mount}/data/{CANDIDATES}/*", "create", "read"),
            allow(f"{scope.places.state_mount}/metadata/{CANDIDATES}/*", "list", "delete"),
        ),
    )
    yield Section(
        "From which backup the hub was restored, if it was; and that `keyturn repair recover` has gone through since.",
        (allow(f"{scope.places.state_mount}/data/{RESTORED}", "read", "update"),),
    )
    yield Section(
        "The keys of all fingerprints: each is made once, and so is the word that it is in use, or retired.",
        tuple(fingerprint_keys(scope)),
    )
    yield Section(
        "Credentials that administer targets and notify consumers: people put them there.",
        tuple(allow(f"{scope.places.state_mount}/data/{path}", "read") for path in scope.admins),
    )
    yield Section(
        "What signs notices: people put it there, and `rotate-own-keys` replaces it.",
        tuple(allow(f"{scope.places.state_mount}/data/{path}", "read", "update") for path in scope.keys),
    )
    yield from _posters(scope)
    yield from unrecorded(scope)
    yield from ledger(scope)
    for rotation in scope.rotations:
        yield from rotation.rights(scope.places)
    if scope.credentials:
        yield Section(
            "Seeing whether each token that the granter makes is recorded, so that another login than the granter's"
            " finds one that is not.",
            tuple(rules_to_see(scope.places.state_mount, scope.places.grant_token_role, GRANT_TOKENS)),
        )
    for key in scope.managed_keys:
        yield from key.hub_rights(scope.places)
    yield from _daily_look(scope)


def revoker(scope: HubScope) -> Sections:
    yield Section(
        "Look at what was deleted, since the credential in it may live (what a search has looked at is deleted again),"
        " and remove the values of old versions for good.",
        tuple(
            allow(at(verb, secret), "update", versions=())
            for verb in ("undelete", "delete", "destroy")
            for secret in scope.secrets
        ),
    )
    yield Section(
        "See before anything is changed whether all of it is allowed.", (allow("sys/capabilities-self", "update"),)
    )
    yield Section(
        "The incidents, and the ends of projects.",
        tuple(rule for part in STATE for rule in state(scope, part, REVOKER)),
    )
    yield Section(
        "Keep there what can't be written to the ledger.",
        (allow(f"{scope.places.state_mount}/data/{UNRECORDED}/*", "create"),),
    )
    yield Section(
        "End requests for access to what a project has had (`keyturn offboard`).",
        (allow(f"{scope.places.state_mount}/data/{GRANTS}/*", "update"),),
    )
    yield from _given_access(scope)
    yield Section(
        "Find and end leases, whichever engine gave them; but for those that are logins, Keyturn's own among them, and"
        " the hub's.",
        tuple(_leases(scope)),
    )
    for rotation in scope.rotations:
        yield from rotation.rights_to_revoke(scope.places)


def _given_access(scope: HubScope) -> Sections:
    if not (scope.credentials or scope.grant_admins):
        return
    mount = scope.places.state_mount
    yield from _grant_admins(scope)
    yield Section(
        "End temporary access to what is revoked: mark it as ended, revoke "
        "its tokens, and check that the accounts are gone.",
        (
            allow(f"{mount}/metadata/{GRANTED}", "list"),
            allow(f"{mount}/data/{GRANTED}/*", "read", "update"),
            *(allow(f"sys/leases/lookup/{below(credential)}", "list", "sudo") for credential in scope.credentials),
            *(allow("sys/leases/lookup", "update", lease_id=(below(each),)) for each in scope.credentials),
            *(rules_to_end(mount, scope.places.grant_token_role, GRANT_TOKENS) if scope.credentials else ()),
        ),
    )


def lease(scope: HubScope) -> Sections:
    for rotation in scope.rotations:
        yield from rotation.rights_to_ask(scope.places)


def approver(scope: HubScope) -> Sections:
    state, transit = scope.places.state_mount, scope.places.transit_mount
    for prefix, why in ((APPROVALS, "See the requests, and sign them."), (GRANTS, ACCESS)):
        yield Section(
            why,
            (
                allow(f"{state}/data/{prefix}/*", "read", "update"),
                allow(f"{state}/metadata/{prefix}", "list"),
                allow(f"{state}/metadata/{prefix}/*", "list"),
            ),
        )
    yield Section(
        "See what was done without a second person, and the reviews of it; sign their own, which no login can change.",
        (
            *(allow(f"{state}/data/{prefix}/*", "read") for prefix in (BROKEN, REVIEWS)),
            *(allow(f"{state}/metadata/{prefix}", "list") for prefix in (BROKEN, REVIEWS)),
            *(allow(f"{state}/metadata/{prefix}/*", "list") for prefix in (BROKEN, REVIEWS)),
            allow(f"{state}/data/{REVIEWS}/{{{{identity.entity.id}}}}/*", "create", "read"),
        ),
    )
    yield Section(
        "See what was given, and until when; not what opens it.",
        (
            allow(f"{state}/data/{GRANTED}/*", "read"),
            allow(f"{state}/metadata/{GRANTED}", "list"),
            allow(f"{state}/metadata/{GRANTED}/*", "list"),
        ),
    )
    yield Section(
        "See requests that are long over.",
        (
            allow(f"{state}/data/{ARCHIVE}/*", "read"),
            allow(f"{state}/metadata/{ARCHIVE}", "list"),
            allow(f"{state}/metadata/{ARCHIVE}/*", "list"),
        ),
    )
    yield Section(
        "What is shared with other organisations: sign it, and withdraw that.",
        (
            allow(f"{state}/data/{AGREEMENTS}/*", "create", "read", "update"),
            allow(f"{state}/metadata/{AGREEMENTS}", "list"),
            allow(f"{state}/metadata/{AGREEMENTS}/*", "create", "list", "read", "update", max_versions=("1",)),
        ),
    )
    key = "keyturn-approver-{{identity.entity.name}}"
    yield Section(
        "Their own key, which bears their entity's name.",
        (allow(f"{transit}/keys/{key}", "read"), allow(f"{transit}/sign/{key}", "update")),
    )
    yield from ledger_read(scope)
    yield Section("Whose login this is. The hub's policy `default` allows the same.", tuple(identity()))


GRANT_LIMITS: Final = ("ttl", "explicit_max_ttl", "renewable")
"""The parameters that a granter may set for such a token, within the limits of its role."""
ACCESS: Final = "See the requests for access, and sign or deny them."


def requester(scope: HubScope) -> Sections:
    mount, own = scope.places.state_mount, f"{GRANTS}/{{{{identity.entity.id}}}}"
    yield Section(
        "Their own requests, in a folder named by their entity's id: no one "
        "can request in another's name or change a request.",
        (
            allow(f"{mount}/data/{own}/*", "create", "read"),
            allow(f"{mount}/metadata/{own}", "list"),
            allow(f"{mount}/metadata/{own}/*", "list"),
        ),
    )
    person = "{{identity.entity.id}}"
    yield Section("Those that are long over.", (allow(f"{mount}/data/{ARCHIVE}/{person}/*", "read"),))
    yield Section(
        "What they were granted, and its one-time wrapping, which no one else may read.",
        (allow(f"{mount}/data/{GRANTED}/{person}/*", "read"), allow(f"{mount}/data/{DELIVERIES}/{person}/*", "read")),
    )
    yield Section(
        "Record that they opened it or no longer need it; this can't be undone.",
        (allow(f"{mount}/data/{RECEIPTS}/{person}/*", "create", "read"),),
    )
    yield Section("See whether anybody has exchanged what opens it.", (allow("sys/wrapping/lookup", "update"),))
    yield from ledger_read(scope)
    yield Section("Whose login this is. The hub's policy `default` allows the same.", tuple(identity()))


def granter(scope: HubScope) -> Sections:
    if not (scope.credentials or scope.grant_admins):
        return
    mount = scope.places.state_mount
    yield Section("Its own token: look it up and renew it.", tuple(own_token()))
    yield Section(
        "The requests, and what requesters say of what they were given: it looks at both, and changes neither.",
        tuple(
            rule
            for prefix in (GRANTS, RECEIPTS)
            for rule in (
                allow(f"{mount}/data/{prefix}/*", "read"),
                allow(f"{mount}/metadata/{prefix}", "list"),
                allow(f"{mount}/metadata/{prefix}/*", "list"),
            )
        ),
    )
    yield Section(
        "What was given, and what opens it.",
        (
            *(rule for part in STATE for rule in state(scope, part, GRANTER)),
            allow(f"{mount}/metadata/{GRANTED}", "list"),
            allow(f"{mount}/metadata/{GRANTED}/*", "list"),
        ),
    )
    yield Section(
        "Archive old grants: write them to the archive, which can't be "
        "changed, and remove them from the active folder.",
        (
            allow(f"{mount}/data/{ARCHIVE}/*", "create", "read"),
            *(allow(f"{mount}/metadata/{kind}/*", "delete") for kind in (GRANTS, GRANTED, DELIVERIES, RECEIPTS)),
        ),
    )
    yield Section(
        "That it is running (`keyturn serve --only grants`), and what people were notified of.",
        tuple(
            rule
            for place in (f"{SERVE}/{GRANTING}", ACCESS_TOLD)
            for rule in (
                allow(f"{mount}/data/{place}", "create", "read", "update"),
                allow(f"{mount}/metadata/{place}", "create", "read", "update", max_versions=("1",)),
            )
        ),
    )
    if scope.credentials:
        yield Section(
            "Tokens that ask for credentials (keyturn-grant.hcl), and end with their time. Each is recorded before it"
            " is used, and ended by its own lease, so no other token is within reach.",
            tuple(rules_to_issue(mount, scope.places.grant_token_role, GRANT_TOKENS, *GRANT_LIMITS)),
        )
    yield Section(
        "How a requester logged in, and whether a wrapping is unopened: what the hub reports for an accessor.",
        (allow("auth/token/lookup-accessor", "update", accessor=()),),
    )
    yield Section(
        "The server at which the hub makes a credential, so that a policy opens only the "
        "target of its own secrets. The hub shows no password with it.",
        tuple(allow(place, "read") for place in scope.credential_servers),
    )
    yield from _grant_admins(scope)
    if scope.grant_admins:
        yield Section("Hand such an account over, so that it opens once.", (allow(WRAP, "update"),))
    yield Section(
        "What conditions check: the requester's groups, and incidents without their values.",
        (
            allow("identity/entity/id/+", "read"),
            allow(f"{mount}/data/{INCIDENTS}/+/head", "read"),
            allow(f"{mount}/metadata/{INCIDENTS}", "list"),
            allow(f"{mount}/metadata/{INCIDENTS}/*", "list"),
        ),
    )
    yield from ledger(scope)


def _grant_admins(scope: HubScope) -> Sections:
    yield Section(
        "What makes and ends accounts at targets for access alone (`grants:`): people put it there.",
        tuple(allow(f"{scope.places.state_mount}/data/{path}", "read") for path in scope.grant_admins),
    )


def grant(scope: HubScope) -> Sections:
    if not scope.credentials:
        return
    yield Section(
        "Credentials that access policies name. Each is wrapped before anybody sees it, and ends with this token.",
        (*(allow(credential, "read") for credential in scope.credentials), *rules_to_use()),
    )


def consumer(scope: HubScope, name: str) -> Sections:
    yield Section(
        "Read its own secrets, and nothing else.",
        tuple(allow(at("data", secret), "read") for secret in scope.consumers[name]),
    )
    yield Section(
        "Read the keys that notices to it are signed with: while one is replaced there are two.",
        tuple(allow(f"{scope.places.state_mount}/data/{path}", "read") for path in scope.consumer_keys.get(name, ())),
    )


OWN_LOGIN: Final = (
    "Give it to no other login, and to a role alone that is bound to addresses (secret_id_bound_cidrs,"
    " token_bound_cidrs) and whose secret ids end by themselves (secret_id_ttl)."
)


def about_own_login(role: str) -> str:
    return f"What lets the AppRole {role} replace its own secret id. {OWN_LOGIN}"


ABOUT: Final = {
    WORKER: "What a Keyturn worker may do in the hub.",
    REVOKER: (
        "What the identity that revokes in an emergency may do in the hub in addition to a "
        "worker: give it both policies, and this one to no other identity."
    ),
    LEASE: "What the tokens may do in the hub that a worker makes to ask for leases.",
    APPROVER: "What a second person may do in the hub who approves what others ask for (`approvals:` in the operator's"
    " file). Give it to people and to no program: at their auth method, or by a group whose members have no program's"
    " login. They need nothing else of Keyturn.",
    REQUESTER: "What a person who requests temporary access (`keyturn access request`) may do in the hub. Give it to"
    " people. It reads no secret.",
    NOTARY: "What the notary may do in the hub: sign the ledger's checkpoints, keep them there, and say which ledger is"
    " the hub's. No worker may do any of it, and the notary may nothing else: it reads no secret.",
    **{login_policy(role): about_own_login(role) for role in (WORKER, REVOKER, NOTARY)},
    MONITOR: "What `keyturn serve` may do in the hub where it watches who reads what (`--only 'access/*'`), and does"
    " not follow the hub: keep its own state, and see which ledger is the hub's. It reads no secret.",
    NUMBERS: (
        "What `keyturn serve` may do in the hub where it publishes to Prometheus the numbers that another "
        "process collected (`--only relay`). It reads no secret, no record, and no key."
    ),
    PKI: (
        "What `keyturn pki plan` and `keyturn pki apply` may do in the hub: make authorities and their "
        "roles. It decides what every certificate is worth: give it to no worker. It reads no secret."
    ),
    GRANTER: (
        "What `keyturn serve` may do in the hub where it grants and ends temporary access "
        "(`--only grants`). It sees no credential that it grants, and reads no secret."
    ),
    BACKUP_LOGIN: "What the identity that backs up the hub may do in it (`keyturn "
    "serve --only backup`, `keyturn backup run`):"
    " read everything, and change none of it. It gives access to every secret: give it to no other identity.",
    GRANT: "What the tokens may do in the hub that the granter makes to ask for credentials.",
    PLANNER: "What `keyturn setup hub` may do in the hub: look at how it is set up. It changes nothing, and reads no"
    " secret.",
    AUDITOR: "What an auditor may do in the hub: read states, versions, times, fingerprints and policies, and list"
    " names. It reads no secret, no candidate and no key, and changes nothing.",
    VIEWER: "What a viewer of the page that `keyturn serve` shows may do in the hub: only that. Give it"
    " to people. The page holds names, and no value.",
    CONSUMER: "What an application may do in the hub.",
}


def sections(scope: HubScope, role: str) -> list[Section]:
    """Return the rules of a policy by its name, each path once; empty where the catalogue needs no such login."""
    made, _, name = role.partition(":")
    return list(merged(consumer(scope, name) if made == CONSUMER else ROLES[role](scope)))


def own_token() -> Iterator[HubRule]:
    """Yield rights that the hub's policy `default` also grants."""
    yield allow("auth/token/lookup-self", "read")
    yield allow("auth/token/renew-self", "update")
    yield allow("sys/capabilities-self", "update")
    yield from identity()


def identity() -> Iterator[HubRule]:
    yield allow("auth/token/lookup-self", "read")
    yield allow("identity/entity/id/{{identity.entity.id}}", "read")


def state(scope: HubScope, part: StatePart, role: str) -> Iterator[HubRule]:
    mount = scope.places.state_mount
    if role in part.written_by and part.fixed:
        yield allow(f"{mount}/data/{part.prefix}/*", "create", "read")
    elif role in part.written_by:
        yield allow(f"{mount}/data/{part.prefix}/*", "create", "read", "update")
        yield allow(f"{mount}/metadata/{part.prefix}/*", "create", "read", "update", max_versions=("1",))
    elif role in part.read_by or (role == AUDITOR and part.shown):
        yield allow(f"{mount}/data/{part.prefix}/*", "read")
    if role in (WORKER, AUDITOR) and part.listed:
        yield allow(f"{mount}/metadata/{part.prefix}/*", "list")
    if role in (WORKER, AUDITOR) and "versions" in part.listed:
        yield allow(f"{mount}/detailed-metadata/{part.prefix}/*", "list")


def fingerprint_keys(scope: HubScope) -> Iterator[HubRule]:
    """Yield the rights to read the keys and to create one, never to overwrite one."""
    mount = scope.places.state_mount
    yield allow(f"{mount}/data/{FIRST_KEY}", "create", "read")
    yield allow(f"{mount}/metadata/{FIRST_KEY}", "read")
    yield allow(f"{mount}/data/{KEYS}/*", "create", "read")
    yield allow(f"{mount}/metadata/{KEYS}/*", "list", "read")


def ledger(scope: HubScope) -> Sections:
    yield from two_hubs(scope)
    state = scope.places.state_mount
    yield Section(
        "Which ledger is this hub's: the first use writes it, and this identity can't change it. Its public key.",
        (
            allow(f"{state}/data/{NAMED}", "create", "read"),
            allow(f"{state}/metadata/{NAMED}", "read"),
            allow(f"{scope.places.transit_mount}/keys/{SIGNING_KEY}", "read"),
        ),
    )


def unrecorded(scope: HubScope) -> Sections:
    mount = scope.places.state_mount
    yield Section(
        "What revocations could not write to the ledger: append it there, and remove it here.",
        (allow(f"{mount}/data/{UNRECORDED}/*", "read"), allow(f"{mount}/metadata/{UNRECORDED}/*", "list", "delete")),
    )


def two_hubs(scope: HubScope) -> Sections:
    words = "Of two hubs, where there are two, which one is written: that is asked in both before anything is changed."
    yield Section(words, (allow(f"{scope.places.state_mount}/data/{EPOCH}", "read"),))


def ledger_read(scope: HubScope) -> Sections:
    yield from two_hubs(scope)
    state = scope.places.state_mount
    yield Section(
        "Which ledger is this hub's, and its public key: what they do with Keyturn's commands is recorded there.",
        (
            allow(f"{state}/data/{NAMED}", "read"),
            allow(f"{state}/metadata/{NAMED}", "read"),
            allow(f"{state}/data/{LEDGERS}/*", "read"),
            allow(f"{scope.places.transit_mount}/keys/{SIGNING_KEY}", "read"),
        ),
    )


def notary(scope: HubScope) -> Sections:
    mount, transit = scope.places.state_mount, scope.places.transit_mount
    yield Section("Its own token.", tuple(own_token()))
    yield from two_hubs(scope)
    yield Section(
        "Signatures by a key that never leaves the hub.",
        (allow(f"{transit}/keys/{SIGNING_KEY}", "read"), allow(f"{transit}/sign/{SIGNING_KEY}", "update")),
    )
    yield Section(
        "The newest checkpoint of each ledger, and how far each collector of its entries is.",
        tuple(rule for part in STATE if part.written_by == (NOTARY,) for rule in state(scope, part, NOTARY)),
    )
    yield from unrecorded(scope)
    yield Section(
        "Which ledger is the hub's, with the keys that have signed for it; `keyturn ledger move` changes it.",
        (allow(f"{mount}/data/{NAMED}", "create", "read", "update"),),
    )


def backup(scope: HubScope) -> Sections:
    mount, transit = scope.places.state_mount, scope.places.transit_mount
    yield Section("Its own token: look it up and renew it.", tuple(own_token()))
    yield Section(
        "Everything in the mounts of secrets and in Keyturn's own: what there is, and the values.",
        tuple(
            rule
            for place in (mount, *scope.mounts)
            for rule in (
                allow(f"sys/internal/ui/mounts/{place}", "read"),
                allow(f"{place}/data/*", "read"),
                allow(f"{place}/metadata/*", "read", "list"),
                allow(f"{place}/detailed-metadata/*", "list"),
            )
        ),
    )
    yield Section(
        "Which other mounts there are: those of secrets that nothing is backed up of are named.",
        (allow("sys/mounts", "read"),),
    )
    yield Section(
        "Keys of the transit engine: which there are, and those that the hub gives a backup of. Any other is named as"
        " missing.",
        (
            allow(f"{transit}/keys", "list"),
            allow(f"{transit}/keys/", "list"),
            allow(f"{transit}/keys/*", "read"),
            allow(f"{transit}/backup/*", "read"),
        ),
    )
    yield Section(
        "Its signature over what it has backed up, by a key that never leaves the hub.",
        (allow(f"{transit}/sign/{BACKUP_LOGIN}", "update"),),
    )
    yield Section(
        "That it is at work (`keyturn serve --only backup`).",
        (
            allow(f"{mount}/data/{SERVE}/{BACKUP}", "create", "read", "update"),
            allow(f"{mount}/metadata/{SERVE}/{BACKUP}", "create", "read", "update", max_versions=("1",)),
        ),
    )
    yield from ledger(scope)


def monitor(scope: HubScope) -> Sections:
    yield Section("Its own token: look it up and renew it.", tuple(own_token()))
    yield Section(
        "Which process runs which background service, how far each access log was read, and which alerts were sent.",
        tuple(rule for part in STATE for rule in state(scope, part, MONITOR)),
    )
    yield from _posters(scope)
    yield from unrecorded(scope)
    yield from ledger(scope)


def numbers(scope: HubScope) -> Sections:
    mount = scope.places.state_mount
    yield Section("Its own token: look it up and renew it.", tuple(own_token()))
    yield Section(
        "What a worker's login has seen of the whole workspace (`keyturn serve --publish`): names and numbers.",
        tuple(rule for part in STATE for rule in state(scope, part, NUMBERS)),
    )
    yield Section(
        "That it is at work (`keyturn serve --only relay`).",
        (
            allow(f"{mount}/data/{SERVE}/{RELAY}", "create", "read", "update"),
            allow(f"{mount}/metadata/{SERVE}/{RELAY}", "create", "read", "update", max_versions=("1",)),
        ),
    )
    yield from two_hubs(scope)


def pki(scope: HubScope) -> Sections:
    if not scope.authorities:
        return
    yield Section("Its own token, and whose it is, for the ledger.", tuple(own_token()))
    for authority, signs in scope.authorities:
        yield from authority.rights(signs)
    yield from ledger(scope)


def planner(scope: HubScope) -> Sections:
    yield Section("Its own token: look it up and renew it.", tuple(own_token()))
    yield Section(
        "What Keyturn has made in the hub. The identity that sets up the hub writes it.",
        (allow(f"{scope.places.state_mount}/data/{SETUP}", "read"),),
    )
    yield Section(
        "Mounts, auth methods, policies, and what the catalogue has made "
        "in them: the hub returns no password with them.",
        tuple(setup_rules(scope, allow("sys/policies/acl/*", "read"))),
    )


def auditor(scope: HubScope) -> Sections:
    mount = scope.places.state_mount
    yield Section("Its own token: look it up and renew it.", tuple(own_token()))
    yield Section(
        "What there is, by names and metadata, without values.",
        (
            *(allow(at("metadata", secret), "read") for secret in (*scope.secrets, *scope.copied)),
            *(
                allow(f"{place}/{kind}/*", "list")
                for place in scope.mounts
                for kind in ("metadata", "detailed-metadata")
            ),
        ),
    )
    yield Section(
        "Keyturn's own state: states, versions, times and fingerprints. Values of open rotations, what opens access,"
        " and the keys of fingerprints are in other entries.",
        tuple(rule for part in STATE for rule in state(scope, part, AUDITOR)),
    )
    yield Section(
        "From which backup the hub was restored, what was set up in it, and what waits for the ledger.",
        (
            *(allow(f"{mount}/data/{entry}", "read") for entry in (RESTORED, SETUP)),
            allow(f"{mount}/data/{UNRECORDED}/*", "read"),
            allow(f"{mount}/metadata/{UNRECORDED}/*", "list"),
        ),
    )
    yield Section(
        "Which keys of fingerprints there are, and since when; not the keys.",
        (allow(f"{mount}/metadata/{FIRST_KEY}", "read"), allow(f"{mount}/metadata/{KEYS}/*", "list", "read")),
    )
    yield Section(
        "Which login may do what, for `keyturn report`.",
        (allow("sys/policies/acl", "list"), allow("sys/policies/acl/", "list"), allow("sys/policies/acl/*", "read")),
    )
    yield from viewer(scope)
    yield from ledger_read(scope)


def viewer(scope: HubScope) -> Sections:
    yield Section(
        "See the page. This entry is always empty: the right to read it is the right to see the page.",
        (allow(f"{scope.places.state_mount}/data/{DASHBOARD}", "read"),),
    )
    yield Section("Whose login this is. The hub's policy `default` allows the same.", tuple(identity()))


SUDO: Final = (LISTED[Kind.AUDIT_DEVICE], LISTED[Kind.AUDIT_HEADER])
"""The hub shows these only to logins with sudo there."""
ANY_SETUP: Final = (
    "auth/+/config",
    "auth/+/role/+",
    "+/config/+",
    "+/roles/+",
    "identity/group/name/+",
    *SUDO,
    "sys/quotas/rate-limit/*",
)


def setup_rules(scope: HubScope, *policies: HubRule) -> Iterator[HubRule]:
    yield from (allow("sys/mounts", "read"), allow("sys/auth", "read"), *policies)
    for role in (scope.places.lease_token_role, scope.places.grant_token_role):
        yield allow(f"auth/token/roles/{role}", "read")
    yield allow(f"{scope.places.transit_mount}/keys/{SIGNING_KEY}", "read")
    yield from (allow(f"{scope.places.state_mount}/metadata/{entry}", "read") for entry in (FIRST_KEY, NAMED))
    for address in ANY_SETUP if scope.set_up is None else scope.set_up:
        yield allow(address, "read", *(["sudo"] if address in SUDO else []))


def _daily_look(scope: HubScope) -> Sections:
    if scope.set_up:
        texts = ("keyturn-*", *(f"{CONSUMER}-{name}" for name in sorted(scope.consumers)))
        policies = [*(scope.places.named(name) for name in texts), *map(login_policy, scope.approles)]
        devices = LISTED[Kind.AUDIT_DEVICE]
        visible = replace(scope, set_up=tuple(address for address in scope.set_up if address != devices))
        yield Section(
            "A daily check that the hub is still set up as the catalogue says (flow "
            "`check-hub`): it changes nothing, and the hub returns no password with it.",
            (
                allow(f"{scope.places.state_mount}/data/{SETUP}", "read"),
                *setup_rules(visible, *(allow(f"sys/policies/acl/{name}", "read") for name in policies)),
            ),
        )


def own_login(role: str) -> Callable[[HubScope], Sections]:
    def rules(scope: HubScope) -> Sections:
        yield own_secret_ids(scope.places.named(role))
        if role == WORKER:
            yield Section(
                "How old the secret ids of Keyturn's other logins are, for `keyturn due`.",
                tuple(rule for other in (REVOKER, NOTARY) for rule in _ages(f"{APPROLE}/{scope.places.named(other)}")),
            )

    return rules


def own_secret_ids(role: str) -> Section:
    base = f"{APPROLE}/{role}"
    return Section(
        "Its own role, and the secret ids of that: which they are, a new one, and the end of an old one. A new one has"
        " the role's own life and addresses, since no request may say others.",
        (
            allow(base, "read"),
            allow(f"{base}/secret-id", "update", "list", metadata=()),
            allow(f"{base}/secret-id/", "list"),
            allow(f"{base}/secret-id/lookup", "update", secret_id=()),
            allow(f"{base}/secret-id-accessor/lookup", "update", secret_id_accessor=()),
            allow(f"{base}/secret-id-accessor/destroy", "update", secret_id_accessor=()),
        ),
    )


def _ages(base: str) -> Iterator[HubRule]:
    yield allow(f"{base}/secret-id", "list")
    yield allow(f"{base}/secret-id/", "list")
    yield allow(f"{base}/secret-id-accessor/lookup", "update", secret_id_accessor=())


def _posters(scope: HubScope) -> Sections:
    yield Section(
        "What applications sign accesses with that they post: people put it there.",
        tuple(allow(f"{scope.places.state_mount}/data/{path}", "read") for path in scope.posters),
    )


def _leases(scope: HubScope) -> Iterator[HubRule]:
    for prefix in scope.lease_prefixes:
        beginning = below(prefix)
        yield allow(f"sys/leases/lookup/{beginning}", "list", "sudo")
        # Set even where any may be ended: otherwise another policy's list for the login would count alone.
        revoke = allow("sys/leases/revoke", "update", lease_id=() if beginning == ANYTHING else (beginning,), sync=())
        yield replace(revoke, denied={"lease_id": tuple(f"{logins}/*" for logins in NO_ENGINES)})
    yield from (allow(f"sys/leases/lookup/{logins}/*", "deny") for logins in NO_ENGINES if scope.lease_prefixes)


def below(prefix: str) -> str:
    return prefix if prefix.endswith("*") else f"{prefix.rstrip('/')}/*"


NO_ENGINES: Final = ("auth", "sys")
"""Logins of people and machines, Keyturn's included, and the hub's own leases are below these: no engine's leases."""


def _readable(secret: SecretPath) -> Iterator[HubRule]:
    yield allow(at("data", secret), "read")
    yield allow(at("metadata", secret), "read", "list")


def at(kind: str, secret: SecretPath) -> str:
    return f"{secret.mount}/{kind}/{secret.path}"


ROLES: Final[dict[str, Callable[[HubScope], Sections]]] = {
    WORKER: worker,
    REVOKER: revoker,
    LEASE: lease,
    APPROVER: approver,
    REQUESTER: requester,
    NOTARY: notary,
    MONITOR: monitor,
    NUMBERS: numbers,
    PKI: pki,
    PLANNER: planner,
    AUDITOR: auditor,
    GRANTER: granter,
    GRANT: grant,
    VIEWER: viewer,
    BACKUP_LOGIN: backup,
    **{login_policy(role): own_login(role) for role in (WORKER, REVOKER, NOTARY)},
}
"""The policies by name, except those of consumers."""
