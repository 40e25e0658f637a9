"""The checks by name, as frameworks and exceptions refer to them: pure functions of the facts."""

from collections.abc import Callable, Mapping
from typing import Final

from keyturn.evidence.checks import inventory, keys, records, rotation
from keyturn.evidence.facts import Facts
from keyturn.evidence.model import CheckResult

Check = Callable[[Facts], CheckResult]

CHECKS: Final[Mapping[str, Check]] = {
    "accesses-known": inventory.accesses_known,
    "accesses-reviewed": inventory.accesses_reviewed,
    "actions-attributed": records.actions_attributed,
    "certificates-in-time": keys.certificates_in_time,
    "cloud-scanner-explained": inventory.scanner_explained,
    "copies-in-step": inventory.copies_in_step,
    "cryptoperiods": keys.cryptoperiods,
    "exceptions-in-force": inventory.exceptions_in_force,
    "incidents-closed": records.incidents_closed,
    "inventory-made": inventory.inventory_made,
    "ledger-whole": records.ledger_whole,
    "limits-declared": rotation.limits_declared,
    "logins-work": rotation.logins_work,
    "nothing-unmanaged": inventory.nothing_unmanaged,
    "old-credentials-ended": rotation.old_credentials_ended,
    "own-keys-in-time": keys.own_keys_in_time,
    "people-passwords": rotation.people_passwords,
    "reads-watched": records.reads_watched,
    "records-kept": records.records_kept,
    "restore-tested": records.restore_tested,
    "revocation-tested": records.revocation_tested,
    "rotated-in-period": rotation.rotated_in_period,
    "rotation-automated": rotation.rotation_automated,
    "rotation-in-time": rotation.rotation_in_time,
    "second-person": records.second_person,
    "unused-listed": inventory.unused_listed,
    "values-shown": records.values_shown,
}
