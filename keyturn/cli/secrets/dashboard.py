"""``keyturn dashboard``: one page of everything, for a browser, a printer or a wall."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from keyturn.cli.environment import load_catalogue, opened_workspace
from keyturn.cli.options import CatalogueOption
from keyturn.cli.output import write_text
from keyturn.cli.programs.hearing import Answer
from keyturn.core.errors import KeyturnError
from keyturn.core.workspaces import WorkspaceNames
from keyturn.doctor.results import Grade
from keyturn.pages.dashboard import Dashboard, Level, OtherLine, SecretLine
from keyturn.settings.prefect import read_settings

if TYPE_CHECKING:
    from keyturn.catalogue import Catalogue
    from keyturn.cli.secrets.overview import Overview
    from keyturn.cli.secrets.secret_status import SecretStatus
    from keyturn.rotation.state.context import Workspace

OutputOption = Annotated[
    Path, typer.Option("--out", metavar="FILE", help="Where the page goes; what was there is replaced.")
]


def dashboard(output: OutputOption = Path("keyturn.html"), catalogue: CatalogueOption = None) -> None:
    """Write one HTML page about every secret: ages, rotations, copies, consumers, incidents and services.

    The page is self-contained, holds names only, and can be filtered, sorted and printed. Changes nothing.
    """
    from keyturn.pages.dashboard_page import write_dashboard
    from keyturn.pages.files import write_private

    try:
        with opened_workspace(catalogue, looking=True) as workspace:
            board = board_of(workspace)
    except KeyturnError as error:
        write_text(str(write_private(output, write_dashboard(unchecked_board(load_catalogue(catalogue), error)))))
        raise
    write_text(str(write_private(output, write_dashboard(board))))


def unchecked_board(catalogue: "Catalogue", error: KeyturnError) -> Dashboard:
    """The page without a hub: every declared secret, as not checked."""
    secrets = [
        SecretLine(path, each.owner, str(each.classification), each.rotation.strategy, Level.UNKNOWN, ["not checked"])
        for path, each in sorted(catalogue.secrets.items())
    ]
    pages, hub = secret_pages(catalogue.secrets), os.environ.get("VAULT_ADDR", "")
    return Dashboard(datetime.now(UTC), hub, catalogue.id, secrets, unseen=[error.text], pages=pages)


def board_of(workspace: "Workspace") -> Dashboard:
    from keyturn.cli.secrets.overview import overview_of

    return Drawing(workspace, overview_of(workspace)).board()


LEVELS: Final = {
    Grade.WELL: Level.WELL,
    Grade.ADVICE: Level.SOON,
    Grade.UNKNOWN: Level.UNKNOWN,
    Grade.FAILED: Level.BAD,
}
OBJECTIVE_LEVELS: Final = {"met": Level.WELL, "missed": Level.BAD, "overdue": Level.BAD, "unknown": Level.UNKNOWN}
NOTIFIED: Final = (Answer.TOLD, Answer.SENT, Answer.INCIDENT)


def secret_pages(paths: Iterable[str]) -> dict[str, str]:
    """Return the addresses of secrets' pages in Prefect's UI; empty without one."""
    settings, names = read_settings(os.environ, Path.cwd()), WorkspaceNames.from_environment(os.environ)
    ui = settings.ui_url.rstrip("/") if settings else ""
    return {path: f"{ui}/artifacts/key/{names.secret_artifact(path)}" for path in paths} if ui else {}


@dataclass(frozen=True)
class Drawing:
    """The collected state, converted to the page's lines."""

    workspace: "Workspace"
    overview: "Overview"

    def board(self) -> Dashboard:
        incidents, unseen = self._incidents()
        drills, undrilled = self._drills()
        objectives, unmeasured = self._objectives()
        others = [*self._health(), *incidents, *self._unreviewed(), *self._hub()]
        others += [*self._authorities(), *self._keys(), *self._parts()]
        return Dashboard(
            self.workspace.hub_now(),
            os.environ.get("VAULT_ADDR", ""),
            self.workspace.catalogue.id,
            list(map(self._secret, self.overview.secrets)),
            [*others, *drills, *objectives],
            list(self.overview.counts.items()),
            [*unseen, *undrilled, *unmeasured],
            secret_pages(self.workspace.catalogue.secrets),
            self.overview.static_keys,
        )

    def _secret(self, status: "SecretStatus") -> SecretLine:
        from keyturn.rotation.copies.push import CopyState

        declared = self.workspace.catalogue.secret(status.path)
        limit = declared.rotation.schedule.maximum_age
        return SecretLine(
            status.path,
            declared.owner,
            str(declared.classification),
            declared.rotation.strategy,
            level_of(status),
            status.lines(),
            (status.now - status.rotated_at).days if status.rotated_at else None,
            limit.days if limit else None,
            status.outlook.at if status.outlook else None,
            [" ".join(copy.lines()) for copy in status.copies],
            [" ".join(hearing.lines()) for hearing in status.consumers],
            _share([copy.state == CopyState.IN_STEP for copy in status.copies], "in sync"),
            _share([hearing.answer in NOTIFIED for hearing in status.consumers], "notified"),
        )

    def _health(self) -> Iterator[OtherLine]:
        for check in self.overview.health:
            if check.name != "incidents":
                yield OtherLine("health", check.name, LEVELS[check.grade], check.words)

    def _incidents(self) -> tuple[list[OtherLine], list[str]]:
        incidents = self.overview.incidents
        if isinstance(incidents, KeyturnError):
            return [], [f"incidents: {incidents.text}"]
        return [
            OtherLine("incident", incident.id, Level.BAD, incident.unread or f"open: {incident.reason}")
            for incident in incidents
        ], []

    def _drills(self) -> tuple[list[OtherLine], list[str]]:
        from keyturn.doctor.drills import AREA, drill_results

        try:
            results = drill_results(self.workspace)
            return [OtherLine(AREA, result.name, LEVELS[result.grade], result.words) for result in results], []
        except KeyturnError as error:
            return [], [f"drills: {error.text}"]

    def _objectives(self) -> tuple[list[OtherLine], list[str]]:
        """How long revoked credentials still worked, for each secret with an objective."""
        declared = [path for path, secret in sorted(self.workspace.catalogue.secrets.items()) if secret.dead_within]
        if not declared:
            return [], []
        from keyturn.revocation.objectives.measured import objective_statuses

        try:
            statuses = objective_statuses(self.workspace, declared)
        except KeyturnError as error:
            return [], [f"time to dead: {error.text}"]
        return [
            OtherLine("time to dead", status.path, OBJECTIVE_LEVELS.get(status.state, Level.SOON), status.words)
            for status in statuses
        ], []

    def _unreviewed(self) -> Iterator[OtherLine]:
        for glass in self.overview.unreviewed:
            yield OtherLine("broken glass", glass.id, Level.BAD, f"{glass.words}: not reviewed")

    def _hub(self) -> Iterator[OtherLine]:
        if (restoration := self.overview.restoration) and restoration.to_do:
            yield OtherLine("hub", "restored", Level.BAD, restoration.to_do)
        if hub := self.overview.hub:
            unknown = hub.error or hub.check is None
            level = Level.UNKNOWN if unknown else Level.BAD if hub.problem else Level.WELL
            yield OtherLine("hub", "set-up", level, hub.words)

    def _authorities(self) -> Iterator[OtherLine]:
        for each in self.overview.authorities:
            level = Level.BAD if each.alarm else Level.SOON if each.due else Level.WELL
            ends = f", ends {each.issuer.ends_at:%Y-%m-%d}" if each.issuer else ""
            yield OtherLine("authority", each.name, level, each.alarm or f"{each.standing}{ends}")

    def _keys(self) -> Iterator[OtherLine]:
        for key in self.overview.keys:
            level = Level.BAD if key.error else Level.SOON if key.due(self.workspace.hub_now()) else Level.WELL
            yield OtherLine("key", key.name, level, key.error or str(key.standing))

    def _parts(self) -> Iterator[OtherLine]:
        for part in self.overview.parts:
            level = Level.UNKNOWN if part.error else Level.BAD if part.problem else Level.WELL
            yield OtherLine("service", part.part, level, part.problem or f"on {part.lease.host}")


def _share(good: Sequence[bool], word: str) -> str:
    return f"{sum(good)} of {len(good)} {word}" if good else ""


def level_of(status: "SecretStatus") -> Level:
    """Return a secret's urgency; what no run fixes by itself is bad."""
    from keyturn.rotation.copies.push import CopyState
    from keyturn.rotation.state.login_checks import Login

    refused = status.login is not None and status.login.result is Login.REFUSED
    late = status.outlook is not None and status.outlook.alarm
    if status.error:
        return Level.UNKNOWN
    if status.missing or status.ended_by or refused or late or any(copy.fails for copy in status.copies):
        return Level.BAD
    behind = any(copy.state != CopyState.IN_STEP for copy in status.copies)
    silent = any(hearing.silence for hearing in status.consumers)
    return Level.SOON if status.rotated_at is None or status.reason or behind or silent else Level.WELL
