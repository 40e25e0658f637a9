"""``keyturn serve``: the long-running process next to the workers."""

import os
import threading
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from keyturn.cli.copies.follow import (
    POLL,
    AuditFileOption,
    Latest,
    PollOption,
    PositionOption,
    ended_by_signals,
    seconds,
    source_of,
)
from keyturn.cli.environment import catalogue_directory, opened_workspace
from keyturn.cli.options import CatalogueOption
from keyturn.cli.output import note
from keyturn.cli.programs.programs import CertOption, KeyOption, insist_on_http, wrong
from keyturn.core.clear_text import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

    from keyturn.access_log.reactions.reactions import Reactions
    from keyturn.agent.http import Handler
    from keyturn.catalogue import Catalogue
    from keyturn.core.ports.access_source import AccessSource
    from keyturn.recovery.making import BackupMaker
    from keyturn.rotation.state.context import Workspace
    from keyturn.serving.numbers.process import Serving
    from keyturn.serving.site import BackupPlan, Site, Wrap
    from keyturn.serving.supervisor import Supervisor
    from keyturn.sync.changes import ChangeSource

LISTEN: Final = "127.0.0.1:2774"

ListenOption = Annotated[
    str,
    typer.Option(
        "--listen",
        metavar="ADDRESS:PORT",
        envvar="KEYTURN_SERVE_LISTEN",
        help="Where health, numbers and posted events are; beyond loopback with --cert and --key.",
    ),
]
ProxyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--trusted-proxy",
        metavar="NETWORK",
        envvar="KEYTURN_SERVE_TRUSTED_PROXY",
        help="A proxy that browsers come through: its X-Forwarded-For counts. May be repeated.",
    ),
]
DashboardOption = Annotated[
    bool,
    typer.Option(
        "--dashboard/--no-dashboard",
        envvar="KEYTURN_SERVE_DASHBOARD",
        help="Show the page of everything to whom the hub lets see it, where this process follows the hub.",
    ),
]
PerSecretOption = Annotated[
    bool,
    typer.Option("--per-secret", envvar="KEYTURN_SERVE_PER_SECRET", help="Also publish each secret's age by its path."),
]
PublishOption = Annotated[
    bool,
    typer.Option(
        "--publish",
        envvar="KEYTURN_SERVE_PUBLISH",
        help="Store what the part numbers sees in the hub, so that --only relay can publish it with fewer rights.",
    ),
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="PART", help="Run this part and no other here; * is any text. May be repeated."),
]


def serve(
    listen: ListenOption = LISTEN,
    cert: CertOption = None,
    key: KeyOption = None,
    only: OnlyOption = None,
    audit_file: AuditFileOption = None,
    position: PositionOption = None,
    poll: PollOption = POLL,
    dashboard: DashboardOption = True,
    trusted_proxy: ProxyOption = None,
    per_secret: PerSecretOption = False,
    publish: PublishOption = False,
    catalogue: CatalogueOption = None,
) -> None:
    """Run the background services until Ctrl-C or SIGTERM: follow the hub, watch reads, serve health and metrics.

    You can run several of these processes, on any hosts. A lease in the hub gives each part to one of them, and another
    takes it over within 30 s. A part that fails is reported and restarted; the others continue.
    """
    every = seconds(poll)
    if bool(cert) != bool(key):
        raise wrong("--cert", "--cert and --key belong together")
    proxies = tuple(map(network, trusted_proxy or ()))
    with opened_workspace(catalogue) as workspace, ended_by_signals() as stop, ExitStack() as stack:
        from keyturn.serving.leases import PartLease, new_holder
        from keyturn.serving.numbers.board import Board
        from keyturn.serving.numbers.process import Serving
        from keyturn.serving.parts import FOLLOW
        from keyturn.serving.registry import make_parts
        from keyturn.serving.supervisor import Supervisor

        latest = Latest(workspace, catalogue)
        site = site_of(latest, audit_file, lambda: source_of(latest, audit_file, position, every), per_secret, publish)
        holder = new_holder()
        supervisor = Supervisor(make_parts(site, only or ()), lambda part: PartLease(workspace.hub, part, holder), note)
        # Only the relay serves published metrics; otherwise they would count twice.
        serving = Serving(supervisor.states, site.counts, Board() if publish else site.board)
        shown = latest if dashboard and FOLLOW in supervisor.states() else None
        open_endpoint(stack, workspace, serving, listen, cert, key, shown, proxies)
        run(supervisor, stop)
    note("ended")


def site_of(
    latest: Latest,
    audit_file: Path | None,
    open_changes: "Callable[[], ChangeSource]",
    per_secret: bool = False,
    publishes: bool = False,
) -> "Site":
    from keyturn.cli.running.numbers import looks_of
    from keyturn.serving.site import Site
    from keyturn.settings.trail import trail_directory, trail_keep

    def opened(wrap: "Wrap") -> "Reactions":
        from keyturn.cli.readers.reactions import open_reactions

        return open_reactions(latest, note, wrap)

    directory, keep = trail_directory(os.environ), trail_keep(os.environ)
    logs, looks = access_logs(latest, audit_file), looks_of(latest, per_secret=per_secret)
    site = Site(latest, open_changes, note, opened, directory, logs, keep=keep, looks=looks, backup_plan=backup_plan)
    return replace(site, publishes=publishes)


def backup_plan(workspace: "Workspace") -> "BackupPlan | None":
    if (settings := workspace.catalogue.policy.backups) is None:
        return None
    from keyturn.serving.site import BackupPlan
    from keyturn.wiring.backups import open_backup_maker

    def opened(current: "Workspace") -> "BackupMaker":
        return open_backup_maker(current, settings, catalogue_directory(None))

    key = (settings, tuple(workspace.catalogue.mount_paths.items()))
    return BackupPlan(opened, settings.every, settings.base_every, key)


def access_logs(latest: Latest, audit_file: Path | None) -> "dict[str, Callable[[], AccessSource]]":
    """Return the openers of the logs read here. A log of this machine alone has the spool's name as a suffix."""
    from keyturn.settings.directories import sources_directory
    from keyturn.wiring.access_sources import open_source, read_here

    def opener(name: str) -> "Callable[[], AccessSource]":
        directory = sources_directory(os.environ)
        return lambda: open_source(
            watched(latest().catalogue, audit_file), name, directory, current=lambda: latest().catalogue
        )

    logs = read_here(watched(latest().catalogue, audit_file), sources_directory(os.environ))
    return {known_as: opener(name) for known_as, name in logs.items()}


def watched(catalogue: "Catalogue", audit_file: Path | None) -> "Catalogue":
    """Return the catalogue. If it names no access log, add the given audit file of the hub."""
    if catalogue.access_logs or audit_file is None:
        return catalogue
    from keyturn.catalogue.access_logs.hub import HubFileSettings
    from keyturn.serving.parts import HUB

    log = HubFileSettings(kind="hub-file", log_file=str(audit_file.absolute()))
    return catalogue.model_copy(update={"access_logs": {HUB: log}})


def open_endpoint(
    stack: ExitStack,
    workspace: "Workspace",
    serving: "Serving",
    listen: str,
    cert: Path | None,
    key: Path | None,
    shown: Latest | None = None,
    proxies: tuple[str, ...] = (),
) -> None:
    """Serve at ``listen`` until the stack closes, with the page of ``shown``. Raises Invalid or OSError."""
    insist_on_http("keyturn serve", "serve")

    from keyturn.agent.sockets import open_at
    from keyturn.serving.certificates import CertificateFiles
    from keyturn.serving.endpoint import Endpoint, answering

    tls = CertificateFiles(cert, key, note) if cert and key else None
    listener = stack.enter_context(open_at(listen, tls=tls is not None, sent="who has read what"))
    local, port = is_loopback(listener.getsockname()[0]), listener.getsockname()[1]
    page = page_of(stack, shown, serving, port, proxies, tls=tls is not None) if shown else None
    numbers, admit = numbers_of(serving), None
    if numbers:
        from keyturn.providers.vault.logins.files import read_login
        from keyturn.serving.numbers.login import metrics_login

        admit = metrics_login(os.environ, read_login, note, local=local)
    endpoint = Endpoint(serving, numbers, posts_of(workspace), page, local=local, admit=admit)
    stack.enter_context(answering(listener, endpoint.answer, tls.context if tls else None))
    place = f"{listen.rpartition(':')[0]}:{port}"
    note(f"listening: {'https' if tls else 'http'}://{place}{' (with the page of everything)' if page else ''}")


def network(text: str) -> str:
    """Parse a network or one address. Raises BadParameter for anything else."""
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        raise wrong("--trusted-proxy", f"{text!r} is no network, such as 10.0.0.0/8, or address") from None


def page_of(
    stack: ExitStack, shown: Latest, serving: "Serving", port: int, proxies: tuple[str, ...], *, tls: bool
) -> "Handler":
    """Serve the dashboard, read with this process's login, to callers whom the hub permits."""
    from keyturn.cli.secrets.dashboard import board_of
    from keyturn.providers.vault.viewers import VaultViewers
    from keyturn.serving.dashboard_door import DashboardDoor
    from keyturn.settings.hub import HubSettings

    viewers = VaultViewers(HubSettings.from_environment())
    stack.callback(viewers.close)
    door = DashboardDoor(viewers, lambda: board_of(shown()), note, serving.counts, port=port, tls=tls, proxies=proxies)
    stack.callback(door.close)
    return door.answer


def posts_of(workspace: "Workspace") -> "Handler | None":
    import asyncio

    from keyturn.agent.http import HttpAnswer, HttpRequest
    from keyturn.settings.directories import sources_directory
    from keyturn.wiring.access_sources import open_door

    if (door := open_door(workspace.catalogue, sources_directory(os.environ), workspace.hub)) is None:
        return None

    async def post(request: HttpRequest) -> HttpAnswer:
        answer = await asyncio.to_thread(door.answer, dict(request.headers), request.body)
        return HttpAnswer(answer.status, f"{answer.text}\n")

    return post


def numbers_of(serving: "Serving") -> "Callable[[], str] | None":
    try:
        from keyturn.providers.prometheus.metrics import NumbersCollector, exposition
    except ModuleNotFoundError:
        note("there is no /metrics, since the package prometheus-client is missing: install keyturn[serve]")
        return None
    from keyturn.serving.numbers.board import board_metrics
    from keyturn.serving.numbers.displayed import PREFIX as BOARD_PREFIX
    from keyturn.serving.numbers.process import PREFIX, build_metric, serving_metrics

    return exposition(
        NumbersCollector(PREFIX, serving_metrics(), {(): serving}),
        NumbersCollector(BOARD_PREFIX, [build_metric(), *board_metrics()], {(): serving.board}),
    )


def run(supervisor: "Supervisor", stop: threading.Event) -> None:
    """Run the parts until a signal arrives, and notify systemd."""
    from keyturn.agent.service import tell_supervisor

    note(f"ready: {', '.join(supervisor.states())}")
    tell_supervisor("READY=1")
    supervisor.run(stop)
    tell_supervisor("STOPPING=1")
