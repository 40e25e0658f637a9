"""Run all checks of one login concurrently. A failing area stops no other."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from keyturn.core.errors import KeyturnError
from keyturn.doctor import (
    backups,
    consumers,
    drills,
    grants,
    hub,
    ledger,
    parts,
    secrets,
    stores,
    targets,
    token_roles,
    two_hubs,
)
from keyturn.doctor.patient import Patient
from keyturn.doctor.results import CheckResult, Diagnosis, unseen
from keyturn.rotation.state.context import side_by_side

Check = Callable[[Patient], Iterable[CheckResult]]

CHECKS: Final[dict[str, Check]] = {
    "hub": hub.check_hub,
    "token role": token_roles.check_token_roles,
    "secret": secrets.check_secrets,
    "catalogue": secrets.check_catalogue,
    "store": stores.check_stores,
    "target": targets.check_targets,
    "consumer": consumers.check_consumers,
    "ledger": ledger.check_ledger,
    "part": parts.check_parts,
    "drill": drills.check_drills,
    "grant": grants.check_grant_admins,
    "backup": backups.check_backups,
    "failover": two_hubs.check_two_hubs,
}
"""The checks by area."""

OF_ROLE: Final = {
    "worker": frozenset(CHECKS) - {"grant"},
    "revoker": frozenset(CHECKS) - {"part", "backup", "catalogue"},
    "backup": frozenset({"hub", "ledger", "backup", "failover"}),
    "granter": frozenset({"hub", "token role", "ledger", "grant", "failover"}),
    "notary": frozenset({"hub", "ledger", "failover"}),
    "monitor": frozenset({"hub", "ledger", "part", "failover"}),
}
"""The areas that concern a login; other logins have only the hub."""


def examine(patient: Patient) -> Diagnosis:
    """Check everything that the login's work requires; changes nothing."""
    areas = OF_ROLE.get(patient.role, frozenset({"hub"}))
    checks = [(area, check) for area, check in CHECKS.items() if area in areas]

    def carry_out(named: tuple[str, Check]) -> Sequence[CheckResult]:
        area, check = named
        try:
            return list(check(patient))
        except KeyturnError as error:
            return [unseen(area, "all of them", error)]

    return Diagnosis(patient.role, [result for results in side_by_side(carry_out, checks) for result in results])
