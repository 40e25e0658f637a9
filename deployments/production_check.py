"""``python -m deployments.production_check``: whether the production containers have all settings.

Compose would reject a missing variable for every profile, so each has an unusable default that this check rejects.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

BY_DIGEST: Final = r"[\w.:/-]+@sha256:[0-9a-f]{64}"
"""A tag can be moved."""


@dataclass(frozen=True)
class NeededVariable:
    meaning: str
    form: str


PRODUCTION_VARIABLES: Final[Mapping[str, NeededVariable]] = {
    "KEYTURN_IMAGE": NeededVariable(
        "the image of Keyturn by digest, such as registry.example.com/keyturn:0.2.0@sha256:...", BY_DIGEST
    ),
    "KEYTURN_REDIS_IMAGE": NeededVariable("the image of Redis by digest, as `make digests` writes it", BY_DIGEST),
    "KEYTURN_HAPROXY_IMAGE": NeededVariable("the image of HAProxy by digest, as `make digests` writes it", BY_DIGEST),
    "KEYTURN_PREFECT_HOST": NeededVariable(
        "the host in the certificate of Prefect, such as prefect.example.com", r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?"
    ),
    "VAULT_ADDR": NeededVariable(
        "the address of the hub, such as https://vault.example.com:8200", r"https://[^\s/@]+/?"
    ),
    "KEYTURN_LEDGER": NeededVariable(
        "the database of the ledger, without a password, such as"
        " postgresql://keyturn@db.example.com/keyturn_ledger?sslrootcert=/etc/keyturn/ca.pem",
        r"postgresql://([^\s:/@]+@)?[^\s/@]+/[^\s/@]+(\?\S*)?",
    ),
    "KEYTURN_LEDGER_NAME": NeededVariable("the name of the ledger in its checkpoints", r"\S.*"),
}


def missing_or_wrong(variables: Mapping[str, str]) -> Iterator[str]:
    """A line for each missing or invalid variable, without its value."""
    for name, needed in PRODUCTION_VARIABLES.items():
        value = variables.get(name, "")
        if not value:
            yield f"required variable {name} is missing a value: {needed.meaning}"
        elif not re.fullmatch(needed.form, value):
            yield f"the variable {name} can't be what it is: give {needed.meaning}"


def main() -> int:
    found = [*missing_or_wrong(os.environ)]
    for line in found:
        sys.stderr.write(f"check: {line}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
