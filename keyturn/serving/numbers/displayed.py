"""The workspace's metrics that a serving process reports: names, labels and sources."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from keyturn.client.metrics import Kind

PREFIX: Final = "keyturn_"


class Area(StrEnum):
    """Metrics that are read together: all of an area's metrics are present, or none."""

    SECRETS = "secrets"
    COPIES = "copies"
    LEDGER = "ledger"
    SIGNATURES = "signatures"
    INCIDENTS = "incidents"
    ACCESS = "access"
    REVIEWS = "reviews"
    KEYS = "keys"
    AUTHORITIES = "authorities"
    PARTS = "parts"
    HUB = "hub"


TOLD_BY: Final[Mapping[Area, str]] = {
    Area.SECRETS: "The secrets of the catalogue, as `keyturn status` shows them: listings of the hub.",
    Area.COPIES: "The state of copies, as `keyturn plan` shows it: listings of the hub and of the stores.",
    Area.LEDGER: "What the ledger's entries come to, from its first one on.",
    Area.SIGNATURES: "The newest checkpoint of the ledger, and what came after it.",
    Area.INCIDENTS: "The incidents that the hub keeps.",
    Area.ACCESS: "Temporary access that is open, and who waits.",
    Area.REVIEWS: "What was done without a second person.",
    Area.KEYS: "Keyturn's own keys, and the managed keys of other engines.",
    Area.AUTHORITIES: "What signs certificates.",
    Area.PARTS: "The leases of what runs on, in whichever process.",
    Area.HUB: "The daily look at the hub's set-up, and whether it was restored from a backup.",
}


@dataclass(frozen=True)
class Shown:
    """One metric; a distribution where ``kind`` is None. The label ``path`` is on demand only."""

    area: Area
    name: str
    kind: Kind | None
    help: str
    labels: tuple[str, ...] = ()
    unit: str = "1"


GROUP: Final = ("owner", "classification")
PATH: Final = ("path",)

_GAUGE, _COUNTER = Kind.GAUGE, Kind.COUNTER

SHOWN: Final = (
    Shown(Area.SECRETS, "secrets", _GAUGE, "Secrets that the catalogue declares.", GROUP),
    Shown(Area.SECRETS, "secrets_due", _GAUGE, "Those that are to be rotated now.", GROUP),
    Shown(Area.SECRETS, "secrets_late", _GAUGE, "Those that are older than their policy lets them be.", GROUP),
    Shown(Area.SECRETS, "secrets_unknown", _GAUGE, "Those that the hub did not report.", GROUP),
    Shown(Area.SECRETS, "secrets_missing", _GAUGE, "Those whose CURRENT was there and can't be read.", GROUP),
    Shown(Area.SECRETS, "secrets_ended", _GAUGE, "Those whose credential an incident has ended.", GROUP),
    Shown(
        Area.SECRETS,
        "secret_age_ratio",
        _GAUGE,
        "The greatest share of its maximum age that a secret has reached: beyond 1 it is too old.",
        GROUP,
    ),
    Shown(
        Area.SECRETS,
        "secret_earliest_end_seconds",
        _GAUGE,
        "Until the first credential ends by itself, such as a certificate; negative where one has.",
        GROUP,
        "s",
    ),
    Shown(Area.SECRETS, "secret_age_seconds", _GAUGE, "How old CURRENT is.", PATH, "s"),
    Shown(Area.SECRETS, "secret_max_age_seconds", _GAUGE, "How old it may become.", PATH, "s"),
    Shown(Area.SECRETS, "secret_late", _GAUGE, "1 for a secret that is late, else 0.", PATH),
    Shown(Area.SECRETS, "secret_end_seconds", _GAUGE, "Until CURRENT ends by itself.", PATH, "s"),
    Shown(
        Area.SECRETS,
        "secrets_by_login",
        _GAUGE,
        "Secrets by what came of the last try whether CURRENT logs in.",
        ("result",),
    ),
    Shown(Area.SECRETS, "consumers_silent", _GAUGE, "Consumers of secrets that have not heard of a new version."),
    Shown(
        Area.COPIES,
        "copies",
        _GAUGE,
        "Copies by state: in sync, behind, drifted, conflict, blocked or unknown.",
        ("store", "state"),
    ),
    Shown(
        Area.COPIES,
        "secrets_behind",
        _GAUGE,
        "Secrets of which the hub has lost newer versions, as after a restore: it may give what is dead.",
    ),
    Shown(Area.COPIES, "copies_failing_seconds", _GAUGE, "Since when runs fail at the oldest copy.", ("store",), "s"),
    Shown(
        Area.LEDGER,
        "rotations",
        _COUNTER,
        "Steps that rotations have come to: promoted, retired, failed, abandoned or reverted.",
        ("outcome",),
    ),
    Shown(
        Area.LEDGER,
        "rotation_duration_seconds",
        None,
        "From a rotation's first step until its candidate is in force.",
        unit="s",
    ),
    Shown(Area.LEDGER, "pushes", _COUNTER, "Copies that were written, or could not be.", ("outcome",)),
    Shown(
        Area.LEDGER,
        "push_failures",
        _COUNTER,
        "Tries to write a copy that failed, by its store and the error's code; what may pass is tried again.",
        ("store", "code"),
    ),
    Shown(
        Area.LEDGER,
        "failures",
        _COUNTER,
        "Entries of what has failed, by the error's code: KT102 is throttling, for one.",
        ("code",),
    ),
    Shown(Area.LEDGER, "alerts", _COUNTER, "Alerts about odd reads in the ledger.", ("level",)),
    Shown(Area.LEDGER, "incidents", _COUNTER, "Incidents that were opened, closed or given up.", ("kind", "outcome")),
    Shown(
        Area.LEDGER,
        "incident_revoke_seconds",
        None,
        "From an incident's opening until a credential of it is ended at its target.",
        ("kind",),
        "s",
    ),
    Shown(
        Area.LEDGER, "incident_close_seconds", None, "From an incident's opening until it is closed.", ("kind",), "s"
    ),
    Shown(Area.LEDGER, "drills", _COUNTER, "Drills of a revocation, by how they ended.", ("outcome",)),
    Shown(Area.LEDGER, "drill_last_time_seconds", _GAUGE, "When the last one ended, in seconds since 1970.", unit="s"),
    Shown(Area.LEDGER, "drill_last_duration_seconds", _GAUGE, "How long it took.", unit="s"),
    Shown(Area.LEDGER, "drill_last_proven", _GAUGE, "1 where all of it was proven, else 0."),
    Shown(Area.LEDGER, "restore_drills", _COUNTER, "Drills of restoring the hub, by how they ended.", ("outcome",)),
    Shown(
        Area.LEDGER,
        "restore_drill_last_time_seconds",
        _GAUGE,
        "When the last drill of restoring ended, in seconds since 1970.",
        unit="s",
    ),
    Shown(Area.LEDGER, "restore_drill_last_recovery_seconds", _GAUGE, "How long its hub took to be whole.", unit="s"),
    Shown(
        Area.LEDGER,
        "restore_drill_last_point_age_seconds",
        _GAUGE,
        "How old its recovery point was when it began.",
        unit="s",
    ),
    Shown(Area.LEDGER, "restore_drill_last_entries", _GAUGE, "How many entries it restored and compared."),
    Shown(Area.LEDGER, "restore_drill_last_proven", _GAUGE, "1 where everything came back as it was, else 0."),
    Shown(Area.LEDGER, "ledger_entries", _GAUGE, "Entries of the ledger."),
    Shown(Area.SIGNATURES, "ledger_unsigned_entries", _GAUGE, "Entries that no checkpoint covers."),
    Shown(
        Area.SIGNATURES, "ledger_unsigned_seconds", _GAUGE, "How old the oldest of them is; 0 without any.", unit="s"
    ),
    Shown(Area.SIGNATURES, "ledger_checkpoint_age_seconds", _GAUGE, "How old the newest checkpoint is.", unit="s"),
    Shown(Area.SIGNATURES, "ledger_checkpoint_witnesses", _GAUGE, "Others' signatures on it, unchecked."),
    Shown(Area.INCIDENTS, "incidents_open", _GAUGE, "Incidents that are not closed."),
    Shown(
        Area.INCIDENTS,
        "incident_oldest_seconds",
        _GAUGE,
        "Since when the oldest is open, or 0.",
        unit="s",
    ),
    Shown(
        Area.INCIDENTS,
        "revocation_objectives",
        _GAUGE,
        "Secrets with `dead_within`, by state: met, missed, overdue, untested or unknown.",
        ("state",),
    ),
    Shown(
        Area.INCIDENTS,
        "revocation_dead_seconds",
        _GAUGE,
        "How long the slowest of their last revoked credentials still worked.",
        unit="s",
    ),
    Shown(Area.ACCESS, "grants", _GAUGE, "Open temporary access, by its stage.", ("stage",)),
    Shown(Area.ACCESS, "grants_waiting", _GAUGE, "Requests for access that wait for approval, or to be given."),
    Shown(Area.REVIEWS, "unreviewed", _GAUGE, "Actions without a second person that were not reviewed yet."),
    Shown(Area.KEYS, "own_keys", _GAUGE, "Keyturn's own keys, by how they are.", ("state",)),
    Shown(Area.KEYS, "own_keys_late", _GAUGE, "Those that should have been replaced."),
    Shown(Area.KEYS, "fingerprint_key_age_seconds", _GAUGE, "How old the key of fingerprints in use is.", unit="s"),
    Shown(Area.KEYS, "managed_keys", _GAUGE, "Keys of other engines, by how they are.", ("state",)),
    Shown(Area.KEYS, "managed_keys_due", _GAUGE, "Those with something to be done."),
    Shown(Area.AUTHORITIES, "authority_end_seconds", _GAUGE, "Until the issuer in force ends.", ("authority",), "s"),
    Shown(Area.AUTHORITIES, "authority_alarm", _GAUGE, "1 where a person has to look, else 0.", ("authority",)),
    Shown(Area.PARTS, "part_up", _GAUGE, "1 for a part that runs in some process, else 0.", ("part",)),
    Shown(Area.PARTS, "part_problem", _GAUGE, "1 if it needs attention, otherwise 0.", ("part",)),
    Shown(
        Area.HUB,
        "hub_to_recover",
        _GAUGE,
        "1 where the hub was restored from a backup and `keyturn repair recover` has not gone through since, else 0.",
    ),
    Shown(Area.HUB, "hub_setup_sound", _GAUGE, "1 where the hub is set up as the catalogue says, else 0."),
)
"""All metrics. ``serving.numbers.board`` keeps them, and ``cli.running.numbers`` reads them."""
