"""What a revocation would do, and whom it would cut off."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from keyturn.catalogue.spreading import all_places
from keyturn.core.errors import KeyturnError, LoginRefused, TransientError, unexpected
from keyturn.core.ports.hub import HubSecret
from keyturn.core.rotation_record import Record
from keyturn.revocation.by_place import Ended
from keyturn.revocation.end_credentials import target_name
from keyturn.revocation.incidents.incident import Mode
from keyturn.revocation.other_fields import kept_names
from keyturn.revocation.proof import Check, CheckAnswer, CheckSubject
from keyturn.revocation.readable_versions import describe_unreadable, readable_versions
from keyturn.revocation.selector import Selection
from keyturn.rotation.declared import (
    contradicting_stores,
    describe_contradiction,
    describe_missing_fields,
    last_rotation,
    missing_fields,
)
from keyturn.rotation.secret_fields import secret_fields
from keyturn.rotation.state.context import Workspace, side_by_side
from keyturn.rotation.state.naming import names_of
from keyturn.rotation.state.record_store import load_record
from keyturn.strategies.manual import ManualSettings

AT_ONCE: Final = 16


@dataclass(frozen=True)
class SecretPreview:
    """One secret, with the ``names`` of accounts, keys and leases that end."""

    path: str
    strategy: str
    owner: str
    classification: str
    version: int
    destinations: tuple[str, ...]
    consumers: tuple[str, ...]
    names: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    """The checks before the incident is proven."""


@dataclass(frozen=True)
class Preview:
    """The whole selection."""

    mode: Mode
    secrets: tuple[SecretPreview, ...]
    leases: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    """The checks of the incident as a whole."""


def preview_revocation(workspace: Workspace, selection: Selection, mode: Mode) -> Preview:
    """What would end, and who would notice; nothing is changed, and unknown parts are warnings.

    Raises TransientError where the hub can't be asked, LoginRefused where it refuses this login.
    """
    secrets = side_by_side(lambda path: preview_or_warning(workspace, path, mode), selection.paths, AT_ONCE)
    return Preview(mode, tuple(secrets), selection.leases, tuple(planned_checks(workspace, selection)))


def with_store_warnings(workspace: Workspace, preview: Preview) -> Preview:
    """The preview with a warning for each copy in a store that this process can't read.

    Looks up one copy in each store, which takes as long as the slowest answer: never before credentials are cut.
    """
    samples = {copy.partition(":")[0]: copy for secret in preview.secrets for copy in secret.destinations}
    answers = side_by_side(lambda copy: store_problem(workspace, copy), samples.values())
    problems = {store: problem for store, problem in zip(samples, answers, strict=True) if problem}
    secrets = tuple(
        replace(secret, warnings=(*secret.warnings, *store_warnings(secret.destinations, problems)))
        for secret in preview.secrets
    )
    return replace(preview, secrets=secrets)


def store_problem(workspace: Workspace, copy: str) -> str:
    """Why the copy can't be looked up, with the remedy; empty if it can."""
    store, _, remote = copy.partition(":")
    try:
        workspace.open_store(store).describe(remote)
    except Exception as error:  # noqa: BLE001  the text of an unknown error could hold a value
        return known(error).text
    return ""


def store_warnings(copies: Sequence[str], problems: Mapping[str, str]) -> Iterator[str]:
    for copy in copies:
        if problem := problems.get(copy.partition(":")[0]):
            yield f"{copy} can't be looked up from here, so the incident would stay open: {problem}"


def planned_checks(workspace: Workspace, selection: Selection) -> Iterator[Check]:
    """The checks of the incident as a whole."""
    yield from (not_checked(CheckSubject.ACCESS, place) for place in (*selection.leases, ""))
    yield not_checked(CheckSubject.LEDGER)
    stores = sorted(workspace.catalogue.stores) if selection.paths else ()
    yield from (not_checked(CheckSubject.ELSEWHERE, store) for store in stores)


def planned_secret_checks(workspace: Workspace, path: str, copies: Sequence[str]) -> Iterator[Check]:
    """The checks of one secret."""
    yield not_checked(CheckSubject.TARGET, target_name(workspace, path))
    yield not_checked(CheckSubject.HUB)
    yield not_checked(CheckSubject.KEPT_FIELDS)
    yield not_checked(CheckSubject.ELSEWHERE, "stores")
    yield from (not_checked(CheckSubject.COPY, copy) for copy in copies)


def not_checked(subject: CheckSubject, place: str = "") -> Check:
    """A check without an answer yet."""
    return Check(subject, place, CheckAnswer.NOT_CHECKED)


def preview_or_warning(workspace: Workspace, path: str, mode: Mode) -> SecretPreview:
    """One secret; if its state can't be read, the catalogue's facts and a warning."""
    try:
        return preview_secret(workspace, path, mode)
    except (TransientError, LoginRefused):
        raise
    except Exception as error:  # noqa: BLE001  the text of an unknown error could hold a value
        secret, warnings = workspace.secret(path), (f"nothing more is known of it: {known(error).problem}",)
        copies = tuple(place.label for place in workspace.catalogue.destinations(path))
        about = (secret.rotation.strategy, secret.owner, str(secret.classification))
        return SecretPreview(path, *about, 0, copies, tuple(secret.consumers), warnings=warnings)


def known(error: Exception) -> KeyturnError:
    """The error itself, or one without the text of an unknown error."""
    return error if isinstance(error, KeyturnError) else unexpected(error)


def preview_secret(workspace: Workspace, path: str, mode: Mode) -> SecretPreview:
    """One secret."""
    secret, record = workspace.secret(path), load_record(workspace, path)
    versions = list(readable_versions(workspace, path))
    fields = {name for version in versions for name in version.fields}
    named = dict.fromkeys(name for version in versions for name in credential_names(workspace, version))
    copies = tuple(place.label for place in all_places(workspace.catalogue, path, fields))
    at_place = Ended()
    strangers = at_place.finding(workspace.open_strategy(path), [version.fields for version in versions])
    return SecretPreview(
        path,
        secret.rotation.strategy,
        secret.owner,
        str(secret.classification),
        versions[0].version if versions else 0,
        copies,
        tuple(secret.consumers),
        (*named, *(f"{name}, which no version holds" for name in strangers)),
        tuple(dict.fromkeys(use for version in versions for use in describe_uses(workspace, version))),
        (
            *preview_warnings(workspace, path, mode, record, versions),
            *(f"could not look for what else ends at its target: {error.problem}" for error in at_place.errors),
        ),
        tuple(planned_secret_checks(workspace, path, copies)),
    )


def credential_names(workspace: Workspace, version: HubSecret) -> Iterator[str]:
    """The account or key of a version, by its target's name."""
    ends = workspace.open_strategy(version.path).credential_id(version.fields)
    shown = names_of(workspace.catalogue, workspace.hub, version.path)
    if ends:
        yield shown.told({name: value for name, value in ends.items() if len(value) <= 100})
    elif "username" in version.fields:
        yield f"username {shown.shown('username', version.fields['username'].reveal())}"


def describe_uses(workspace: Workspace, version: HubSecret) -> list[str]:
    """Signs that a version is in use now."""
    strategy = workspace.open_strategy(version.path)
    try:
        return list(strategy.in_use(strategy.credential_id(version.fields), workspace.clock()))
    except KeyturnError as error:
        return [f"its use is unknown: {error.problem}"]


def preview_warnings(
    workspace: Workspace, path: str, mode: Mode, record: Record, versions: list[HubSecret]
) -> Iterator[str]:
    """What a person should know beforehand."""
    secret = workspace.secret(path)
    if not versions:
        yield "the hub has no version of it that can be read"
    for words in describe_unreadable(workspace.hub.describe(path)):
        yield f"{words}: ended as far as the target reports it, and undeleted for checking where possible"
    if record.open:
        yield f"a rotation is {record.open.stage}: it is cut off too"
    if isinstance(secret.rotation, ManualSettings):
        yield "a person replaces it, and ends it where it is honoured"
    last = last_rotation(record)
    for words in filter(None, (describe_contradiction(workspace, path, last),)):
        yield f"{words}: the incident stays open"
    for store, words in contradicting_stores(workspace, last).items():
        yield f"{store}: {words}: the incident stays open"
    yield from field_warnings(workspace, path, mode, versions)
    if mode is Mode.REVOKE_ONLY:
        yield "nothing replaces it: everything that uses it is cut off until a person rotates it"
    elif secret.consumers or secret.destinations:
        yield "from the cut until they have the new value, those who use it are refused"


def field_warnings(workspace: Workspace, path: str, mode: Mode, versions: list[HubSecret]) -> Iterator[str]:
    """The leaked fields that a replacement keeps, and those it must add."""
    if not versions or mode is not Mode.REPLACE:
        return
    newest = versions[0]
    names = set(kept_names(workspace, path, newest.fields))
    for name in sorted(names.intersection(secret_fields(workspace, newest))):
        yield f"the field {name} is kept: the incident stays open until a person writes a new value to it"
    if missing := missing_fields(workspace, path, newest.fields):
        yield f"{describe_missing_fields(missing, newest.fields)}: nothing is replaced until the entry is corrected"
