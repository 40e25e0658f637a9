"""Check that tokens for leases and grants are limited as declared, and recorded."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from keyturn.catalogue.models import Catalogue
from keyturn.core.errors import KeyturnError
from keyturn.core.issued_tokens import LONGEST_TOKEN, IssuedToken
from keyturn.core.ports.hub import Hub
from keyturn.core.rights.hub_setup import Difference, HubResource, differing
from keyturn.doctor.patient import Patient
from keyturn.doctor.results import CheckResult, Grade, unseen
from keyturn.pages.words import list_names
from keyturn.rights.hub_wanted import HubDeclaration, token_roles
from keyturn.rights.scope import HubScope

AREA: Final = "token role"
LOGINS: Final = {"worker": ("lease", "grant"), "revoker": ("lease", "grant"), "granter": ("grant",)}
"""The token roles that a login may read."""
SETTLED: Final = timedelta(minutes=1)
"""A younger token may not be recorded yet."""


def check_token_roles(patient: Patient) -> Iterator[CheckResult]:
    """Check each role that the login may read, and its tokens."""
    workspace = patient.workspace
    yield from check_roles(workspace.hub, roles_of(workspace.catalogue, patient.scope, patient.role))


def check_roles(hub: Hub, roles: Iterable[HubResource]) -> Iterator[CheckResult]:
    """Check these roles; one that can't be read is unknown."""
    for role in roles:
        try:
            yield check_role(hub, role)
            yield check_records(role.name, hub.issued_tokens(role.name), hub.now())
        except KeyturnError as error:
            yield unseen(AREA, role.name, error)


def roles_of(catalogue: Catalogue, scope: HubScope, login: str) -> list[HubResource]:
    """Return the token roles that a login may read, as declared."""
    places = scope.places
    names = {"lease": places.lease_token_role, "grant": places.grant_token_role}
    visible = {names[kind] for kind in LOGINS.get(login, ())}
    return [role for role in token_roles(HubDeclaration.of(catalogue, scope, "")) if role.name in visible]


def check_role(hub: Hub, role: HubResource) -> CheckResult:
    """Check the limits on the role's tokens."""
    present = hub.setup().look(role.address)
    if present is None:
        return CheckResult(AREA, role.name, Grade.FAILED, "the hub has no such role", "Run `keyturn setup hub --apply`")
    if flaws := differing(present, role.fields):
        words = list_names([f"{each.field} is {each.present!r}, not {each.wanted!r}" for each in flaws])
        grade = Grade.ADVICE if all(map(is_limited, flaws)) else Grade.FAILED
        return CheckResult(AREA, role.name, grade, f"is not as declared: {words}", "Run `keyturn setup hub --apply`")
    if not present.get("token_bound_cidrs"):
        remedy = "Set KEYTURN_HUB_TOKEN_ADDRESSES, or `addresses` of the logins, and run `keyturn setup hub --apply`"
        return CheckResult(AREA, role.name, Grade.ADVICE, "its tokens work from any address", remedy)
    return CheckResult(AREA, role.name, Grade.WELL, "its tokens are limited in time and addresses")


def is_limited(flaw: Difference) -> bool:
    """Whether a role with this difference still limits its tokens."""
    if flaw.field == "token_explicit_max_ttl":
        return int(flaw.wanted) <= int(flaw.present or 0) <= LONGEST_TOKEN.total_seconds()
    # Of the default type, the worker's policy lets no request ask for a batch token.
    return flaw.field == "token_type" or (flaw.field == "token_bound_cidrs" and bool(flaw.present))


def check_records(role: str, tokens: list[IssuedToken], now: datetime) -> CheckResult:
    """Check that Keyturn has recorded each token of the role."""
    unknown = [token.lease_id for token in tokens if not token.accessor and token.issued_at < now - SETTLED]
    name = f"tokens of {role}"
    if unknown:
        words = f"{len(unknown)} that Keyturn has not recorded: {list_names(unknown)}"
        remedy = "See who made each, and end it: docs/stolen-access.md, Tokens that nothing records"
        return CheckResult(AREA, name, Grade.FAILED, words, remedy)
    return CheckResult(AREA, name, Grade.WELL, f"all {len(tokens)} are recorded")
