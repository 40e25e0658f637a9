"""Whose a secret is: its project, by the label of that name, and who else uses what a project has."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from keyturn.catalogue.models import Catalogue
from keyturn.core.errors import Invalid, NotFound
from keyturn.core.text.suggest import advice
from keyturn.rotation.state.agreements import partners_with

LABEL: Final = "project"
"""The label of a secret that names its project."""

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
"""What a project is called, so that its name is one part of a path in the hub."""


@dataclass(frozen=True)
class SharedUse:
    """A secret of a project, and why its end would reach somebody beside the project."""

    path: str
    why: str


def project_paths(catalogue: Catalogue, project: str) -> tuple[str, ...]:
    """The secrets of a project, in order. Raises Invalid for no name, and NotFound with the one likely meant."""
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
    """Those of a project's secrets that another organisation has, or a consumer reads who lives on something else."""
    outside = used_outside(catalogue, paths)
    for path in sorted(set(paths) & set(catalogue.secrets)):
        for partner in partners_with(catalogue, path):
            yield SharedUse(path, f"{partner} has a copy of it")
        for consumer in catalogue.secrets[path].consumers:
            if others := outside.get(consumer):
                yield SharedUse(path, f"{consumer} uses it, and {others[0]}, which is not the project's")


def used_outside(catalogue: Catalogue, paths: Collection[str]) -> dict[str, list[str]]:
    """The consumers that use what is none of ``paths``, and what they use."""
    uses: dict[str, list[str]] = {}
    for path, secret in catalogue.secrets.items():
        for consumer in secret.consumers if path not in paths else ():
            uses.setdefault(consumer, []).append(path)
    return uses


def own_consumers(catalogue: Catalogue, paths: Collection[str]) -> tuple[str, ...]:
    """The consumers that use these secrets and nothing else."""
    users = {consumer for path in set(paths) & set(catalogue.secrets) for consumer in catalogue.secrets[path].consumers}
    return tuple(sorted(users - set(used_outside(catalogue, paths))))


def own_targets(catalogue: Catalogue, paths: Collection[str]) -> tuple[str, ...]:
    """The targets at which nothing but these secrets is rotated."""
    targets = {path: getattr(secret.rotation, "target", None) for path, secret in catalogue.secrets.items()}
    inside = {target for path, target in targets.items() if path in paths and target}
    return tuple(sorted(inside - {target for path, target in targets.items() if path not in paths}))


def left_to_people(catalogue: Catalogue, paths: Collection[str], state_mount: str) -> Iterator[str]:
    """What people have put into Keyturn's own mount for these secrets alone, and agreed to: Keyturn ends none of it."""
    for path in sorted(set(paths) & set(catalogue.secrets)):
        for partner in partners_with(catalogue, path):
            yield f"the agreement with {partner} about {path}: withdraw it (keyturn share end)"
    for name in own_targets(catalogue, paths):
        admin = getattr(catalogue.targets[name], "admin", None)
        if isinstance(admin, str):
            yield f"the admin of the target {name} ({state_mount}/{admin}), which nothing else of the catalogue uses"
    for name in own_consumers(catalogue, paths):
        yield f"the webhook key of {name} ({state_mount}/{catalogue.consumers[name].signing_key})"
