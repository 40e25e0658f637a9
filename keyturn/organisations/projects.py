"""A secret's project, from its label, and other users of its secrets."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from keyturn.catalogue.models import Catalogue
from keyturn.core.errors import Invalid, NotFound
from keyturn.core.text.suggest import advice
from keyturn.rotation.state.agreements import partners_with

LABEL: Final = "project"
"""The label that names a secret's project."""

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
"""A project's name is one part of a path in the hub."""


@dataclass(frozen=True)
class SharedUse:
    """A secret of a project, and why its end would affect others."""

    path: str
    why: str


def project_paths(catalogue: Catalogue, project: str) -> tuple[str, ...]:
    """The secrets of a project, in order. Raises Invalid, and NotFound with a suggestion."""
    if not _NAME.fullmatch(project):
        hint = "Use 1 to 63 letters, digits and _ . -, a letter or digit at both ends"
        raise Invalid("find", f"project {project!r}", "it is no name of a project", hint)
    named = {path: secret.labels.get(LABEL, "") for path, secret in catalogue.secrets.items()}
    paths = tuple(sorted(path for path, name in named.items() if name == project))
    if not paths:
        projects = sorted({name for name in named.values() if name})
        hint = advice(project, projects, f"No secret of the catalogue has a label {LABEL}.")
        raise NotFound("find", f"project {project}", f"no secret has the label {LABEL}: {project}", hint)
    return paths


def shared_uses(catalogue: Catalogue, paths: Collection[str]) -> Iterator[SharedUse]:
    """The project's secrets that a partner, or a consumer of other secrets, also uses."""
    outside = used_outside(catalogue, paths)
    for path in sorted(set(paths) & set(catalogue.secrets)):
        for partner in partners_with(catalogue, path):
            yield SharedUse(path, f"{partner} has a copy of it")
        for consumer in catalogue.secrets[path].consumers:
            if others := outside.get(consumer):
                yield SharedUse(path, f"{consumer} uses it, and {others[0]}, which is not the project's")


def used_outside(catalogue: Catalogue, paths: Collection[str]) -> dict[str, list[str]]:
    """The consumers with secrets outside ``paths``, and those secrets."""
    uses: dict[str, list[str]] = {}
    for path, secret in catalogue.secrets.items():
        for consumer in secret.consumers if path not in paths else ():
            uses.setdefault(consumer, []).append(path)
    return uses


def own_consumers(catalogue: Catalogue, paths: Collection[str]) -> tuple[str, ...]:
    """The consumers that use only these secrets."""
    users = {consumer for path in set(paths) & set(catalogue.secrets) for consumer in catalogue.secrets[path].consumers}
    return tuple(sorted(users - set(used_outside(catalogue, paths))))


def own_targets(catalogue: Catalogue, paths: Collection[str]) -> tuple[str, ...]:
    """The targets of only these secrets."""
    targets = {path: getattr(secret.rotation, "target", None) for path, secret in catalogue.secrets.items()}
    inside = {target for path, target in targets.items() if path in paths and target}
    return tuple(sorted(inside - {target for path, target in targets.items() if path not in paths}))


def left_to_people(catalogue: Catalogue, paths: Collection[str], state_mount: str) -> Iterator[str]:
    """What people stored or agreed for these secrets alone; Keyturn does not end it."""
    for path in sorted(set(paths) & set(catalogue.secrets)):
        for partner in partners_with(catalogue, path):
            yield f"the agreement with {partner} about {path}: withdraw it (keyturn share end)"
    for name in own_targets(catalogue, paths):
        admin = getattr(catalogue.targets[name], "admin", None)
        if isinstance(admin, str):
            yield f"the admin of the target {name} ({state_mount}/{admin}), which nothing else of the catalogue uses"
    for name in own_consumers(catalogue, paths):
        yield f"the webhook key of {name} ({state_mount}/{catalogue.consumers[name].signing_key})"
