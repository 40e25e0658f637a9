"""The accounts whose credentials are made and ended at each target, as far as rights depend on it."""

from collections.abc import Iterator
from typing import Final

from keyturn.catalogue.models import Catalogue
from keyturn.catalogue.targets import AwsIamSettings, TargetBase
from keyturn.core.rights.rights import AccountRights, Document
from keyturn.strategies.base import StrategySettings


def target_documents(catalogue: Catalogue, origin: str) -> Iterator[Document]:
    for name, settings in catalogue.targets.items():
        yield from settings.rights(accounts_at(catalogue, name, origin))


def accounts_at(catalogue: Catalogue, target: str, origin: str) -> AccountRights:
    rotations = (secret.rotation for secret in catalogue.secrets.values())
    names = {name for rotation in rotations if getattr(rotation, "target", None) == target for name in _of(rotation)}
    return AccountRights(f"target-{target.replace('/', '.')}", origin, tuple(sorted(names)))


def _of(rotation: StrategySettings) -> Iterator[str]:
    for claim in rotation.claims:
        value = getattr(rotation, claim)
        yield from [value] if isinstance(value, str) else value


EVERYTHING: Final[dict[str, tuple[TargetBase, tuple[str, ...]]]] = {
    "aws-iam": (AwsIamSettings(kind="aws-iam"), ("applications/*",))
}
"""The targets whose rights are rendered, with the accounts of a catalogue that may do everything."""


def every_target(origin: str) -> Iterator[Document]:
    for kind, (settings, names) in EVERYTHING.items():
        yield from settings.rights(AccountRights(kind, origin, names))
