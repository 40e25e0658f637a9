"""Compare the capabilities of a login in the hub with its needs: what it lacks, and what it has beyond.

The hub shows the capabilities only of paths that it is asked about, so dangerous paths are asked by name. It does not
show which parameters a request may have.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from keyturn.core.fingerprint_keys import FIRST_KEY, key_entry
from keyturn.core.rights.rights import ANYTHING, PROBE, RuleIndex, Section, holds, rules_of, sample
from keyturn.ledger.naming import SIGNING_KEY
from keyturn.rights.scope import HubScope
from keyturn.rotation.candidates import CANDIDATES, ROTATIONS
from keyturn.rotation.state.grant_store import DELIVERIES


@dataclass(frozen=True)
class Finding:
    capability: str
    path: str
    why: str = ""
    """Why it is needed, where it is lacking."""


@dataclass(frozen=True)
class Comparison:
    """The capabilities that a login lacks, and those beyond its needs, each in the order of paths."""

    lacking: tuple[Finding, ...]
    beyond: tuple[Finding, ...]


def paths_to_ask(scope: HubScope, sections: Sequence[Section]) -> list[str]:
    return list(dict.fromkeys((*(sample(rule.path) for rule in rules_of(sections)), *dangerous(scope))))


def compare(scope: HubScope, sections: Sequence[Section], held: Mapping[str, Collection[str]]) -> Comparison:
    """Compare ``held``, the capabilities by path, with the rules of ``sections``."""
    lacking = [
        Finding(capability, rule.path, section.why)
        for section in sections
        for rule in rules_of([section])
        for capability in sorted(rule.capabilities - {"deny"})
        if not holds(held[sample(rule.path)], capability)
    ]
    index = RuleIndex(sections)
    beyond = [
        Finding(capability, path)
        for path in paths_to_ask(scope, sections)
        for capability in sorted(held[path])
        if capability != "deny" and capability not in index.allowed(path)
    ]
    if any("root" in capabilities for capabilities in held.values()):
        beyond = [Finding("root", ANYTHING)]
    return Comparison(tuple(lacking), tuple(beyond))


def dangerous(scope: HubScope) -> Iterator[str]:
    """Yield the paths that no login of Keyturn may use, except the one that needs it."""
    yield from (f"{path}/{PROBE}" for path in POWERS)
    yield from ("sys/seal", "auth/token/create", "auth/token/create-orphan", "auth/token/accessors", "identity/entity")
    for mount in scope.mounts:
        yield f"{mount}/config"
        yield from (f"{mount}/{kind}/{PROBE}" for kind in KINDS)
    yield from (f"{secret.mount}/{kind}/{secret.path}" for secret in scope.secrets for kind in KINDS)
    state, transit = scope.places.state_mount, scope.places.transit_mount
    yield f"{state}/config"
    yield from (
        f"{state}/data/{path}" for path in (PROBE, FIRST_KEY, key_entry(2), *scope.admins, *scope.keys, *scope.posters)
    )
    yield from (f"{state}/{kind}/{ROTATIONS}/{PROBE}" for kind in ("metadata", "destroy", "delete"))
    yield from (f"{state}/data/{values}/{PROBE}" for values in (CANDIDATES, DELIVERIES))
    yield from (f"{transit}/{kind}/{PROBE}" for kind in ("sign", "keys", "decrypt", "export/signing-key"))
    yield from (f"{transit}/{kind}/{SIGNING_KEY}" for kind in ("sign", "keys", "export/signing-key"))
    for engine in sorted({str(rotation.mount) for rotation in scope.rotations if hasattr(rotation, "mount")}):
        yield from (f"{engine}/{kind}/{PROBE}" for kind in ENGINES)


POWERS: Final = (
    "sys/policies/acl",
    "sys/policy",
    "sys/mounts",
    "sys/auth",
    "sys/audit",
    "sys/raw",
    "sys/leases/lookup/auth",
    "sys/leases/revoke-prefix",
    "sys/leases/revoke-force",
    "auth/token/roles",
    "auth/token/create",
    "auth/approle/role",
    "auth/userpass/users",
    "identity/entity/id",
)
KINDS: Final = ("data", "metadata", "undelete", "delete", "destroy")
ENGINES: Final = (
    "config",
    "roles",
    "creds",
    "static-creds",
    "static-roles",
    "rotate-role",
    "rotate-root",
    "sign",
    "sign-verbatim",
    "issue",
)
