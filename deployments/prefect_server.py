"""``python -m deployments.prefect_server --port N --cert FILE --key FILE``: Prefect's API and UI, over TLS.

``prefect server start`` speaks plain http and lets every page in (Prefect 3.9: it gives uvicorn no certificate, its
API answers whatever Host and Origin are sent, and reads a body of no stated kind as JSON). So its application is served
here, behind what keeps foreign pages away. All its settings are those of its own environment variables.
"""

import argparse
import sys

import uvicorn

from deployments.busy_database import TriedAgain
from deployments.foreign_pages import OwnPagesOnly, origins
from deployments.server_options import add_certificate, add_host


def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    # Loading Prefect takes seconds; wrong options are reported before that.
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    settings = get_current_settings().server
    allowed = origins([options.port, *options.published_port], options.name)
    uvicorn.run(
        OwnPagesOnly(TriedAgain(create_app(final=True, webserver_only=options.no_services)), allowed),
        host=options.host,
        port=options.port,
        ssl_certfile=str(options.cert),
        ssl_keyfile=str(options.key),
        timeout_keep_alive=settings.api.keepalive_timeout,
        ws_ping_interval=settings.api.websocket_ping_interval,
        ws_ping_timeout=settings.api.websocket_ping_timeout,
        log_level=settings.logging_level.lower(),
        # No proxy in front of it can report a request's address.
        proxy_headers=False,
        server_header=False,
    )


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m deployments.prefect_server", description=__doc__)
    add_host(made)
    made.add_argument("--port", type=int, required=True)
    names = "a host name that others use for it, in addition to loopback"
    made.add_argument("--name", action="append", default=[], metavar="HOST", help=names)
    published = "a port of this machine that leads here, as a container's does"
    made.add_argument("--published-port", type=int, action="append", default=[], metavar="N", help=published)
    alone = "answer alone: schedules, automations and retention are done by deployments.prefect_services"
    made.add_argument("--no-services", action="store_true", help=alone)
    add_certificate(made, required=True)
    return made


if __name__ == "__main__":
    serve(parser().parse_args())
    sys.exit(0)
