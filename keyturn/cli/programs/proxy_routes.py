"""What `keyturn proxy` reads from the catalogue: routes, and the placeholders of their callers."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from keyturn.cli.output import note
from keyturn.core.errors import Invalid, KeyturnError

if TYPE_CHECKING:
    from keyturn.agent.proxy.callers import Placeholders
    from keyturn.agent.proxy.gateway import Gateway
    from keyturn.agent.proxy.routes import Route
    from keyturn.catalogue import Catalogue
    from keyturn.catalogue.routes import IdentitySettings
    from keyturn.client.client import SecretClient
    from keyturn.client.posts import AccessPosts
    from keyturn.core.notifications.notices import Notice
    from keyturn.core.ports.hub import StatePort
    from keyturn.providers.http.workload_tokens import WorkloadTokens

FOLDER: Final = "keyturn-placeholders"


class Routes:
    """The routes of a catalogue, and the placeholders in the files of ``directory``, which are made with ``mode``."""

    def __init__(self, catalogue: "Catalogue | None", directory: Path, mode: int) -> None:
        self.directory = directory
        self._mode = mode
        self.named: dict[str, Route] = {}
        self.identities: dict[str, WorkloadTokens] = {}
        self.placeholders: Placeholders
        self.use(catalogue)

    def use(self, catalogue: "Catalogue | None") -> None:
        """Take the routes of this catalogue. Raises Invalid; the ones before then stay."""
        from keyturn.agent.proxy.callers import Placeholders
        from keyturn.agent.proxy.routes import Route
        from keyturn.agent.token_file import make_token, read_token

        if catalogue is None or not catalogue.routes:
            raise Invalid(
                "open", "the proxy", "the catalogue has no routes", "Name it in --catalogue, and add `routes`"
            )
        callers = sorted({name for route in catalogue.routes.values() for name in route.callers})
        if callers:
            self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        for name in callers:
            make_token(self.directory / name, self._mode)
        tokens = {name: read_token(self.directory / name) for name in callers}
        made = {
            name: identity_tokens(name, route.identity) for name, route in catalogue.routes.items() if route.identity
        }
        # A request that is being admitted may still be for a route that is gone.
        self.identities = {**self.identities, **made}
        self.named = {name: Route(name, settings) for name, settings in catalogue.routes.items()}
        self.placeholders = Placeholders(tokens)


def identity_tokens(name: str, identity: "IdentitySettings") -> "WorkloadTokens":
    """The tokens of the route of this name. Raises Invalid."""
    from keyturn.providers.http.workload_tokens import WorkloadTokens

    return WorkloadTokens(f"route {name}", Path(identity.token_file), identity.exchange, identity.ca_file)


def placeholder_folder(option: Path | None) -> Path:
    """The directory of the placeholders: the option's, or one in the runtime directory."""
    from keyturn.agent.token_file import default_file

    return option or default_file(os.environ).with_name(FOLDER)


def counts_folder(port: int) -> Path | None:
    """The directory of what callers have used today, of the proxy at this port; None where none can be made."""
    from keyturn.core.files import make_private_directory
    from keyturn.settings.directories import state_directory

    try:
        folder = state_directory() / "proxy" / str(port)
        make_private_directory(folder)
    except (OSError, Invalid) as error:
        note(f"limits of a day begin anew at each start: {error}")
        return None
    return folder


def gateway_of(
    stack: ExitStack,
    client: "SecretClient",
    routes: Routes,
    posts: "AccessPosts | None",
    on_notice: "Callable[[Notice], object]",
    *,
    access_log: bool,
    counts: Path | None,
) -> "Gateway":
    from keyturn.agent.proxy.gateway import Gateway
    from keyturn.agent.proxy.trail import PassageTrail

    trail = PassageTrail(posts, note if access_log else None)
    gateway = Gateway(
        client,
        lambda: routes.named,
        lambda: routes.placeholders,
        trail.report,
        on_notice,
        lambda: routes.identities,
        counts,
    )
    stack.callback(gateway.close)
    try:
        client.get_many({route.secret for route in routes.named.values() if route.secret})
    except KeyturnError as error:
        note(f"{error}. Its routes answer 502 or 503 until it can be read")
    return gateway


def proxy_posts(stack: ExitStack, hub: "StatePort", url: str | None, poster: str) -> "AccessPosts | None":
    if url is None:
        return None
    from keyturn.client.posts import AccessPosts
    from keyturn.client.webhooks.keys import HubKeys

    keys = HubKeys(hub, f"posters/{poster}")
    return stack.enter_context(AccessPosts(url, poster, lambda: keys()[0]))
