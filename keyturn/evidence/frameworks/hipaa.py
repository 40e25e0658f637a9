"""HIPAA: the technical safeguards that concern secrets."""

from typing import Final

from keyturn.evidence.model import Control, Framework

HIPAA: Final = Framework(
    id="hipaa",
    title="HIPAA Security Rule, technical safeguards",
    source="45 CFR 164.312 (as amended to 2013)",
    controls=(
        Control(
            "164.312(a)(1)",
            "Access control",
            "Only persons and programs that have been granted access reach electronic protected health information.",
            ("accesses-reviewed", "old-credentials-ended", "copies-in-step", "nothing-unmanaged", "incidents-closed"),
            "Which of the systems hold health information.",
        ),
        Control(
            "164.312(b)",
            "Audit controls",
            "Activity in systems with such information is recorded and examined.",
            ("ledger-whole", "actions-attributed", "accesses-known", "reads-watched", "values-shown"),
            "Activity within those systems.",
        ),
        Control(
            "164.312(d)",
            "Person or entity authentication",
            "A person who seeks access is verified to be the one claimed.",
            ("rotation-automated", "rotation-in-time", "logins-work", "certificates-in-time"),
            "How people authenticate.",
        ),
    ),
)
