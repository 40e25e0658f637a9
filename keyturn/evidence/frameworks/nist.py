"""NIST: cryptoperiods, compromise and inventories of keys, and people's passwords."""

from typing import Final

from keyturn.evidence.model import Control, Framework

NIST: Final = Framework(
    id="nist",
    title="NIST, key management and digital identity",
    source="NIST SP 800-57 Part 1 Revision 5 (2020), NIST SP 800-63B-4 (2025)",
    controls=(
        Control(
            "800-57-1 5.3",
            "Cryptoperiods",
            "No key is used for longer than its kind allows.",
            ("cryptoperiods", "own-keys-in-time", "certificates-in-time"),
            "How much was encrypted or signed with a key, which may end it sooner.",
        ),
        Control(
            "800-57-1 5.5",
            "Compromise of keys",
            "A key that may be known to others is ended and replaced, and it is found out who had it.",
            ("incidents-closed", "old-credentials-ended", "accesses-known"),
        ),
        Control(
            "800-57-1 9.3, 9.4",
            "Accountability and audit",
            "People who handle keys are known, and their handling can be audited.",
            ("actions-attributed", "ledger-whole", "values-shown"),
        ),
        Control(
            "800-57-1 8",
            "Keys through their phases",
            "Keys are made, put in force, retired and destroyed in an order that is known.",
            ("rotation-automated", "rotated-in-period", "inventory-made"),
        ),
        Control(
            "800-63B-4 3.1.1.2",
            "Passwords of people",
            "A person's password is changed on evidence of its compromise, and not because of its age.",
            ("people-passwords",),
            "How people's passwords are verified.",
        ),
    ),
)
