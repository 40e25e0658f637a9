"""``keyturn agent``: one process that serves secrets from memory to many programs, with the API of AWS's agent."""

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from keyturn.cli.environment import insist_on_hub
from keyturn.cli.output import note
from keyturn.cli.programs.agent_doors import Doors, Latest
from keyturn.cli.programs.offline import (
    OfflineHostOption,
    OfflineKeyOption,
    OfflineOption,
    RestrictedOption,
    open_offline,
)
from keyturn.cli.programs.programs import (
    CertOption,
    KeyOption,
    ModeOption,
    SourceOption,
    insist_on_http,
    mode_of,
    seconds_of,
    wrong,
)
from keyturn.core.errors import KeyturnError
from keyturn.core.workspaces import CATALOGUE_VARIABLE

if TYPE_CHECKING:
    from keyturn.agent.application import Agent
    from keyturn.agent.decisions import Decisions
    from keyturn.client.client import SecretClient
    from keyturn.client.webhooks.receiver import Receiver
    from keyturn.core.notifications.notices import Notice
    from keyturn.providers.vault.hub import VaultHub
    from keyturn.wiring.sources import SourceOpener

PORT: Final = 2773
"""The port of AWS's agent."""

PortOption = Annotated[int, typer.Option("--port", min=1, max=65_535, help="The port on 127.0.0.1.")]
LocalOption = Annotated[bool, typer.Option("--local/--no-local", help="Whether to listen on 127.0.0.1 at all.")]
TokenModeOption = Annotated[
    str, typer.Option("--token-mode", metavar="MODE", help="The mode that it is made with: 0600, or 0640 for a group.")
]
SocketOption = Annotated[
    Path | None, typer.Option("--socket", metavar="FILE", help="Listen at this socket too, for programs of this user.")
]
ListenOption = Annotated[
    str | None,
    typer.Option(
        "--listen",
        metavar="ADDRESS:PORT",
        help="Serve clients with their own login, and accept notices; beyond loopback this needs --cert and --key.",
    ),
]
TokenOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="What programs of this host have to show; made where it is missing. Without it, AWS_TOKEN.",
    ),
]
TtlOption = Annotated[str, typer.Option("--ttl", metavar="DURATION", help="How long a value is kept.")]
CheckOption = Annotated[
    str,
    typer.Option("--check-every", metavar="DURATION", help="How long the hub's word on a caller of --listen is taken."),
]
OutageOption = Annotated[
    str,
    typer.Option(
        "--outage",
        metavar="DURATION",
        help="How much longer the hub's last word on a caller of --listen is taken while it does not answer.",
    ),
]
NoticeOption = Annotated[
    str | None,
    typer.Option(
        "--webhook-key",
        metavar="PATH",
        help="Where the key of its notices is in Keyturn's own mount, such as webhooks/agent.",
    ),
]
MappingOption = Annotated[
    Path | None,
    typer.Option(
        "--catalogue", metavar="DIR", envvar=CATALOGUE_VARIABLE, help="The catalogue, for the names of copies in AWS."
    ),
]
TemplateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--template",
        metavar="SOURCE:DEST[:COMMAND]",
        help="Keep this Jinja2 template written to DEST, and run a command when it has changed. May be repeated.",
    ),
]
AccessOption = Annotated[bool, typer.Option("--access-log", help="Log each secret that is given out to stderr.")]


def agent(
    port: PortOption = PORT,
    local: LocalOption = True,
    socket: SocketOption = None,
    listen: ListenOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
    token_file: TokenOption = None,
    token_mode: TokenModeOption = "0600",
    source: SourceOption = None,
    ttl: TtlOption = "5m",
    check_every: CheckOption = "30s",
    outage: OutageOption = "0s",
    webhook_key: NoticeOption = None,
    catalogue: MappingOption = None,
    offline: OfflineOption = None,
    offline_key: OfflineKeyOption = None,
    offline_host: OfflineHostOption = "",
    restricted: RestrictedOption = None,
    template: TemplateOption = None,
    mode: ModeOption = "0600",
    access_log: AccessOption = False,
) -> None:
    """Give programs their secrets from memory, as AWS's Secrets Manager Agent does, until Ctrl-C or SIGTERM.

    Programs on this host send the token from its file. Callers of --listen send a token of the hub, and get what the
    hub allows that token to read. SIGHUP reloads certificate, token and catalogue.
    """
    kept_for, believed_for = seconds_of(ttl, "--ttl"), seconds_of(check_every, "--check-every")
    longest = seconds_of(outage, "--outage")
    if bool(cert) != bool(key):
        raise wrong("--cert", "--cert and --key belong together")
    if cert and not listen:
        raise wrong("--cert", "it is for --listen, which is missing")
    if not (local or socket or listen):
        raise wrong("--no-local", "there is nothing left to listen at")
    insist_on_hub()
    insist_on_http("the agent", "agent")
    # The local stack sets it.
    catalogue = catalogue or (Path(os.environ[CATALOGUE_VARIABLE]) if os.environ.get(CATALOGUE_VARIABLE) else None)

    from keyturn.agent.application import Agent
    from keyturn.client.client import SecretClient
    from keyturn.client.policy import RESTRICTED, CachePolicy
    from keyturn.wiring.sources import SourceOpener, source_names

    opener = SourceOpener(tuple(source or source_names()), catalogue)
    with ExitStack() as stack:
        policy, unlasting = CachePolicy(ttl=kept_for), replace(RESTRICTED, ttl=kept_for)
        policies = dict.fromkeys([*(restricted or ()), *opener.policies], unlasting)
        lasting = open_offline(offline, offline_key, offline_host, catalogue, restricted or ())
        client = stack.enter_context(SecretClient(opener(), policy=policy, policies=policies, offline=lasting))
        hub = opened_hub(stack, opener)
        current = Latest(opener, catalogue)
        on_notice = kept_templates(stack, client, template, mode)
        receiver, access = receiver_of(hub, webhook_key), note if access_log else None
        made = Agent(client, lambda: current.names, receiver, access, metrics_of(client), on_notice)
        stack.callback(made.close)
        doors = Doors(stack, made, current, token_file, mode_of(token_mode, "--token-mode"))
        if local:
            doors.add_local(port)
        if socket:
            doors.add_socket(socket)
        if listen:

            def in_outage(path: str) -> float:
                return min(longest, client.policy_of(path).resurrect_ttl)

            doors.add_listener(listen, cert, key, decisions_of(stack, made, hub, believed_for, in_outage))
        run(doors)


def opened_hub(stack: ExitStack, opener: "SourceOpener") -> "VaultHub":
    from keyturn.providers.vault.hub import VaultHub
    from keyturn.settings.hub import HubSettings

    hub = VaultHub(HubSettings.from_environment())
    stack.callback(hub.close)
    return hub.mounted(opener.declared.mount_paths) if opener.declared else hub


def receiver_of(hub: "VaultHub", path: str | None) -> "Receiver | None":
    if path is None:
        return None
    from keyturn.client.webhooks.keys import HubKeys
    from keyturn.client.webhooks.receiver import Receiver

    keys = HubKeys(hub, path)

    def look() -> None:
        try:
            keys()
        except KeyturnError as error:
            note(f"{error}. Until then every notice is answered 503")

    # In a thread, so that an unresponsive hub does not delay programs that use cached values.
    threading.Thread(target=look, name="keyturn-webhook-key", daemon=True).start()
    return Receiver(keys)


def kept_templates(
    stack: ExitStack, client: "SecretClient", templates: list[str] | None, mode: str
) -> "Callable[[Notice], object]":
    if not templates:
        return client.told
    from keyturn.cli.programs.agent_templates import templates_of

    follower = templates_of(templates, mode_of(mode)).begin(client)
    stack.callback(follower.stop)
    return follower.told


def metrics_of(client: "SecretClient") -> "Callable[[], str] | None":
    try:
        from keyturn.providers.prometheus.metrics import exposition_of
    except ModuleNotFoundError:
        return None
    return exposition_of(client)


def decisions_of(
    stack: ExitStack, agent: "Agent", hub: "VaultHub", every: float, outage: Callable[[str], float]
) -> "Decisions":
    from keyturn.agent.decisions import Decisions
    from keyturn.providers.vault.callers import VaultCallers

    callers = VaultCallers(hub)
    stack.callback(callers.close)
    return Decisions(callers, agent.ask, every, outage)


def run(doors: Doors) -> None:
    import asyncio

    from keyturn.agent.service import serve

    def ready() -> None:
        for place in doors.places:
            note(f"ready: {place}")

    asyncio.run(serve(doors.all, doors.reload, ready))
    note("ended")
