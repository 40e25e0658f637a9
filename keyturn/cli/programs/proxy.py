"""``keyturn proxy``: programs call services through it with a placeholder, and it adds the credential."""

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli.environment import insist_on_hub
from keyturn.cli.programs.agent import (
    PORT,
    LocalOption,
    NoticeOption,
    PortOption,
    TtlOption,
    opened_hub,
    receiver_of,
    run,
)
from keyturn.cli.programs.agent_doors import Doors, Latest
from keyturn.cli.programs.programs import (
    CertOption,
    KeyOption,
    SourceOption,
    insist_on_http,
    mode_of,
    seconds_of,
    wrong,
)
from keyturn.cli.programs.proxy_routes import Routes, counts_folder, gateway_of, placeholder_folder, proxy_posts
from keyturn.core.workspaces import CATALOGUE_VARIABLE

if TYPE_CHECKING:
    from keyturn.catalogue import Catalogue

RoutesOption = Annotated[
    Path | None,
    typer.Option("--catalogue", metavar="DIR", envvar=CATALOGUE_VARIABLE, help="The catalogue with routes."),
]
PlaceholdersOption = Annotated[
    Path | None,
    typer.Option("--placeholders", metavar="DIR", help="Where each caller's placeholder is; made where it is missing."),
]
PlaceholderModeOption = Annotated[
    str, typer.Option("--mode", metavar="MODE", help="The mode of their files: 0600, or 0640 for a group.")
]
UsersSocketOption = Annotated[
    Path | None, typer.Option("--socket", metavar="FILE", help="Listen at this socket too, for the users of routes.")
]
NoticesOption = Annotated[
    str | None,
    typer.Option("--listen", metavar="ADDRESS:PORT", help="Accept notices there; beyond loopback with --cert, --key."),
]
PostOption = Annotated[
    str | None,
    typer.Option("--post-to", metavar="URL", help="Report requests to `keyturn serve` at this address, as --poster."),
]
PosterOption = Annotated[
    str, typer.Option("--poster", metavar="LOG/NAME", help="The poster of the catalogue; its key is read from the hub.")
]
PassageOption = Annotated[bool, typer.Option("--access-log", help="Log each request to stderr, without its content.")]


def proxy(
    port: PortOption = PORT,
    local: LocalOption = True,
    socket: UsersSocketOption = None,
    listen: NoticesOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
    catalogue: RoutesOption = None,
    placeholders: PlaceholdersOption = None,
    mode: PlaceholderModeOption = "0600",
    source: SourceOption = None,
    ttl: TtlOption = "5m",
    webhook_key: NoticeOption = None,
    post_to: PostOption = None,
    poster: PosterOption = "",
    access_log: PassageOption = False,
) -> None:
    """Pass requests on to the services of the catalogue's routes, with credentials that their callers never hold.

    A program calls http://127.0.0.1:2773/to/ROUTE with a placeholder as its API key. The proxy gives out no secret.
    SIGHUP reloads catalogue, placeholders and certificate. Runs until Ctrl-C or SIGTERM.
    """
    kept_for = seconds_of(ttl, "--ttl")
    if bool(cert) != bool(key):
        raise wrong("--cert", "--cert and --key belong together")
    if cert and not listen:
        raise wrong("--cert", "it is for --listen, which is missing")
    if bool(post_to) != bool(poster):
        raise wrong("--post-to", "--post-to and --poster belong together")
    if not (local or socket):
        raise wrong("--no-local", "there is nothing left to listen at")
    insist_on_hub()
    insist_on_http("the proxy", "agent")
    catalogue = catalogue or (Path(os.environ[CATALOGUE_VARIABLE]) if os.environ.get(CATALOGUE_VARIABLE) else None)

    from keyturn.agent.application import Agent
    from keyturn.agent.caller_auth import NoEntrance
    from keyturn.client.client import SecretClient
    from keyturn.client.policy import RESTRICTED, CachePolicy
    from keyturn.wiring.sources import SourceOpener, source_names

    opener = SourceOpener(tuple(source or source_names()), catalogue)
    with ExitStack() as stack:
        policies = dict.fromkeys(opener.policies, replace(RESTRICTED, ttl=kept_for))
        routes = Routes(opener.declared, placeholder_folder(placeholders), mode_of(mode))
        client = stack.enter_context(SecretClient(opener(), policy=CachePolicy(ttl=kept_for), policies=policies))
        hub = opened_hub(stack, opener)
        posts = proxy_posts(stack, hub, post_to, poster)
        counts = counts_folder(port)
        gateway = gateway_of(stack, client, routes, posts, client.told, access_log=access_log, counts=counts)

        def use(catalogue: "Catalogue") -> None:
            routes.use(catalogue)
            gateway.reload()

        current = Latest(opener, catalogue, use)
        made = Agent(client, lambda: current.names, receiver_of(hub, webhook_key), on_notice=gateway.told)
        stack.callback(made.close)
        doors = Doors(stack, made, current, None, mode_of(mode))
        entrance = NoEntrance(gateway.watch)
        if local:
            doors.add_proxy(port, entrance, gateway, routes.directory)
        if socket:
            doors.add_users(socket, entrance, gateway)
        if listen:
            doors.add_notices(listen, cert, key, entrance)
        run(doors)
