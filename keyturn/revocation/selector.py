"""The secrets that a revocation covers."""

from collections.abc import Sequence
from dataclasses import dataclass

from keyturn.catalogue import Catalogue, Secret
from keyturn.core.errors import Invalid, NotFound
from keyturn.core.text.path_patterns import covers
from keyturn.core.text.suggest import advice
from keyturn.revocation.left_out import missed_by, unseen_secrets
from keyturn.revocation.readable_versions import describe_unreadable, readable_versions
from keyturn.revocation.whois import whois
from keyturn.rotation.state.context import Workspace
from keyturn.strategies.vault_dynamic import VaultDynamicSettings


@dataclass(frozen=True)
class Selector:
    """Criteria that must all match; ``paths`` are secrets, or patterns such as ``ml-training/*``."""

    paths: tuple[str, ...] = ()
    owner: str = ""
    classification: str = ""
    target: str = ""
    store: str = ""
    lease_prefix: str = ""
    fingerprint: str = ""

    @property
    def words(self) -> str:
        """Text for people."""
        parts = [", ".join(self.paths)] if self.paths else []
        others = ("owner", "classification", "target", "store", "lease_prefix", "fingerprint")
        parts += [f"{name.replace('_', ' ')} {value}" for name in others if (value := getattr(self, name))]
        return "; ".join(parts)


@dataclass(frozen=True)
class Selection:
    """The matching secrets, in order, and leases; ``missed`` secrets may match, and did not load.

    ``sweeping`` means that a pattern matches everything.
    """

    paths: tuple[str, ...]
    leases: tuple[str, ...] = ()
    sweeping: bool = False
    missed: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The number of secrets, and of leases chosen by their prefix."""
        return len(self.paths) + len(self.leases)


def select_secrets(workspace: Workspace, selector: Selector) -> Selection:
    """The matching secrets and leases. Raises Invalid for an empty selector, NotFound for no match."""
    if selector == Selector():
        hint = (
            "Name a secret, a pattern, an owner, a classification, a target, a store, a lease prefix or a fingerprint"
        )
        raise Invalid("revoke", "nothing", "nothing is chosen", hint)
    leases = tuple(workspace.hub.leases(selector.lease_prefix)) if selector.lease_prefix else ()
    paths = tuple(sorted(_fitting(workspace, selector, leases)))
    missed = missed_by(workspace.catalogue, selector.paths)
    if not paths and not leases:
        hint = "See `keyturn status` for the secrets of the catalogue"
        raise NotFound("revoke", selector.words, "no secret of the catalogue fits", hint)
    return Selection(paths, leases, any(map(fits_everything, selector.paths)), missed)


def fits_everything(pattern: str) -> bool:
    """Whether a pattern matches everything: ``**``, ``**/*``."""
    return "**" in pattern.split("/") and not pattern.strip("*/")


def _fitting(workspace: Workspace, selector: Selector, leases: Sequence[str]) -> set[str]:
    paths = chosen_paths(workspace.catalogue, selector)
    if selector.lease_prefix:
        paths = {path for path in paths if _has_one_of(workspace, path, leases)}
    if selector.fingerprint:
        paths &= {match.path for match in whois(workspace, selector.fingerprint, every=True) if not match.unseen}
    return paths


def chosen_paths(catalogue: Catalogue, selector: Selector) -> set[str]:
    """The secrets that match by the catalogue. Raises NotFound for an unmatched name."""
    paths = _by_name(catalogue, selector.paths) if selector.paths else set(catalogue.secrets)
    for name in ("owner", "classification", "target", "store"):
        if wanted := getattr(selector, name):
            paths = {path for path in paths if wanted in _catalogue_values(catalogue.secret(path), name)}
    return paths


def _by_name(catalogue: Catalogue, names: Sequence[str]) -> set[str]:
    """The secrets that match these names and patterns. Raises NotFound for an unmatched one.

    Among several, an unloaded one is skipped.
    """
    declared, paths = catalogue.secrets, set[str]()
    hidden = unseen_secrets(catalogue) if len(names) > 1 else {}
    for name in names:
        if name in hidden:
            continue
        fitting = {path for path in declared if covers(name, path)} if "*" in name else {catalogue.secret(name).path}
        if not fitting:
            hint = advice(name, declared, "See the catalogue.")
            raise NotFound("revoke", name, "no secret of the catalogue fits it", hint)
        paths |= fitting
    return paths


def _catalogue_values(secret: Secret, name: str) -> tuple[str, ...]:
    """The catalogue's values of a secret for one criterion."""
    match name:
        case "owner":
            return (secret.owner,)
        case "classification":
            return (str(secret.classification),)
        case "target":
            return (getattr(secret.rotation, "target", ""),)
        case _:
            return tuple(name for place in secret.destinations for name in (place.store, place.group))


def _has_one_of(workspace: Workspace, path: str, leases: Sequence[str]) -> bool:
    """Whether the secret's versions hold one of these leases; its role decides for unreadable ones."""
    held = {
        version.fields["lease_id"].reveal()
        for version in readable_versions(workspace, path)
        if "lease_id" in version.fields
    }
    if held & set(leases):
        return True
    rotation = workspace.secret(path).rotation
    if not isinstance(rotation, VaultDynamicSettings) or not describe_unreadable(workspace.hub.describe(path)):
        return False
    return any(lease.startswith(f"{place}/") for place in rotation.lease_places for lease in leases)
