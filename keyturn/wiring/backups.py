"""Opens the operator's backup settings: the place, the keys and the scratch hub."""

import base64
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, cast

from keyturn.catalogue.files.parse import gather
from keyturn.catalogue.operator.backups import (
    AzurePlaceSettings,
    BackupSettings,
    DirectoryPlaceSettings,
    GcsPlaceSettings,
    PlaceSettings,
    RestoreDrillSettings,
    S3PlaceSettings,
)
from keyturn.core.errors import Invalid, KeyturnError
from keyturn.core.ports.backups import BackupKeys, BackupPlace, Manifest
from keyturn.core.ports.envelope import DataKeys
from keyturn.ledger.ports import StoredLedger
from keyturn.providers.data_keys import open_data_keys
from keyturn.recovery.making import BACK_UP, BackupMaker
from keyturn.recovery.manifests import SignatureCheck
from keyturn.recovery.pruning import Retention
from keyturn.recovery.subject import BackupSubject
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import record_action

TRANSIT: Final = "transit:"
OUTSIDE: Final = (
    "Add a key that is kept elsewhere: a KMS's, another hub's "
    "(transit:NAME@ADDRESS), or the public half of a recovery key"
    " (x25519:PATH)"
)
DRILL_MOUNTS: Final = "keyturn-drill"
"""The mounts of drills in the scratch hub."""


def open_place(settings: PlaceSettings) -> BackupPlace:
    """The place. Raises Invalid for invalid settings or a missing extra, and Denied."""
    try:
        return _opened(settings)
    except ModuleNotFoundError as error:
        problem = f"the package {error.name} is missing"
        raise Invalid("open", f"the place {settings.kind} of backups", problem, "Install keyturn[backup]") from None


def _opened(settings: PlaceSettings) -> BackupPlace:
    match settings:
        case DirectoryPlaceSettings():
            from keyturn.providers.files.backup_directory import BackupDirectory

            return BackupDirectory(settings.directory)
        case S3PlaceSettings():
            from keyturn.providers.aws.backup_bucket import BackupBucket
            from keyturn.providers.aws.client import AwsSettings

            login = AwsSettings(settings.region, settings.endpoint_url, settings.profile, settings.role_arn)
            return BackupBucket(settings.bucket, settings.prefix, login, retain=settings.retain, mode=settings.mode)
        case AzurePlaceSettings():
            from keyturn.providers.azure.backup_container import open_container

            return open_container(
                settings.account_url,
                settings.container,
                settings.prefix,
                ca_file=settings.ca_file,
                authority=settings.authority,
                retain=settings.retain,
                mode=settings.mode,
            )
        case GcsPlaceSettings():
            from keyturn.providers.gcp.backup_bucket import open_bucket

            return open_bucket(
                settings.bucket,
                settings.prefix,
                endpoint=settings.endpoint,
                retain=settings.retain,
                mode=settings.mode,
            )


def open_backup_keys(names: Sequence[str], hub_address: str, env: Mapping[str, str] = os.environ) -> BackupKeys:
    """The keys that wrap backups. Raises Invalid where all are in the backed-up hub."""
    try:
        from keyturn.providers.keys.backup_seal import RecipientKeys
    except ModuleNotFoundError as error:
        problem = f"the package {error.name} is missing"
        raise Invalid("open", "the keys of backups", problem, "Install keyturn[certificates]") from None
    if all(lies_in(name, hub_address) for name in names):
        problem = "every key that would open them is in the hub that is backed up, and is lost with it"
        raise Invalid("open", "the keys of backups", problem, OUTSIDE)
    return RecipientKeys({name: open_data_keys(name, env, recovery=True) for name in names})


def openable_keys(names: Sequence[str], env: Mapping[str, str] = os.environ) -> BackupKeys:
    """The keys that can open backups here. Raises the first error where none can."""
    from keyturn.providers.keys.backup_seal import RecipientKeys

    opened, errors = dict[str, DataKeys](), list[KeyturnError]()
    for name in names:
        try:
            opened[name] = open_data_keys(name, env, recovery=True)
        except KeyturnError as error:
            errors.append(error)
    if not opened:
        raise errors[0]
    return RecipientKeys(opened)


def open_backup_maker(workspace: Workspace, settings: BackupSettings, catalogue: Path | None = None) -> BackupMaker:
    """The backup maker of this workspace and catalogue directory."""
    content = workspace.hub.content()
    subject = BackupSubject(
        content,
        workspace.hub.fingerprint_keys,
        cast("StoredLedger", workspace.ledger),
        lambda: gather(catalogue).content if catalogue else {},
        workspace.catalogue.id,
        settings.versions,
    )
    signer = workspace.hub.signer(settings.sign_with) if settings.sign_with else None
    keys = open_backup_keys(settings.keys, content.address)
    return BackupMaker(subject, open_place(settings.place), keys, signer)


def make_recorded_base(workspace: Workspace, settings: BackupSettings, catalogue: Path | None) -> Manifest:
    """Make a base and record it in the ledger."""
    maker = open_backup_maker(workspace, settings, catalogue)
    with record_action(workspace, BACK_UP, note="a base") as doing:
        manifest = maker.make_base()
        doing.note = f"{manifest.name}, {manifest.counts['all']} entries"
    return manifest


def signature_check(settings: BackupSettings) -> SignatureCheck:
    """The required signer of a backup: the operator's key, if any."""
    from keyturn.providers.ledger.ed25519 import verify_ed25519

    return SignatureCheck(verify_ed25519, base64.b64decode(settings.public_key or ""))


def retention(settings: BackupSettings) -> Retention:
    """How many chains are kept."""
    return Retention(**settings.keep.model_dump())


def lies_in(name: str, hub_address: str) -> bool:
    """Whether a wrapping key belongs to this hub."""
    place, _, address = name.partition("@")
    return place.startswith(TRANSIT) and address.rstrip("/").casefold() in ("", hub_address.rstrip("/").casefold())


def declared_backups(settings: BackupSettings | None) -> BackupSettings:
    """The operator's settings. Raises Invalid where there are none."""
    if settings is None:
        problem = "the operator's file declares none"
        raise Invalid("find", "backups", problem, "Add `backups:` to the file that KEYTURN_POLICY names")
    return settings


def declared_drill(settings: BackupSettings) -> RestoreDrillSettings:
    """The settings of restore drills. Raises Invalid where there are none."""
    if settings.restore_drill is None:
        problem = "nothing says in which hub to try it"
        raise Invalid("drill", "restoring", problem, "Add `restore_drill:` with a scratch hub's address to `backups`")
    return settings.restore_drill
