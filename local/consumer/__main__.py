"""``python -m local.consumer``: an application that uses one rotated database credential."""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2

from deployments.server_options import add_certificate, add_host
from keyturn.client.secrets import SecretSource
from keyturn.client.sources import HubSource, StoreSource
from keyturn.client.webhooks.keys import HubKeys
from keyturn.client.webhooks.receiver import Receiver
from keyturn.core.errors import KeyturnError
from keyturn.core.sensitive import Sensitive
from local.consumer.application import Application
from local.consumer.database import Address
from local.consumer.server import Server
from local.support.ports import LOOPBACK
from local.support.serving import context_of

if TYPE_CHECKING:
    from keyturn.providers.vault.hub import VaultHub


def parser() -> argparse.ArgumentParser:
    """The settings; where one is not given, the environment is asked."""
    made = argparse.ArgumentParser(prog="python -m local.consumer", description=__doc__)
    made.add_argument("--name", required=True, help="what it calls itself to the database and in its counters")
    add_host(made)
    made.add_argument("--port", type=int, required=True, help="port; 0 takes a free one")
    add_certificate(made)
    keys = made.add_mutually_exclusive_group(required=True)
    keys.add_argument("--webhook-key-file", type=Path, help="accepted keys, one a line, re-read on change")
    keys.add_argument("--webhook-key-path", help="where the accepted keys are in Keyturn's own mount of the hub")
    made.add_argument("--source", choices=("hub", "aws"), required=True, help="where it reads its secrets")
    made.add_argument("--secret", required=True, help="hub path of the database credential")
    hub = made.add_argument_group("hub", "VAULT_ADDR and KEYTURN_HUB_* supply what is not given here")
    hub.add_argument("--role-id-file", help="file with the AppRole's role id")
    hub.add_argument("--secret-id-file", help="file with the AppRole's secret id")
    aws = made.add_argument_group("aws", "KEYTURN_AWS_ENDPOINT and AWS's own variables supply the rest")
    help_names = "name of the copy there, NAME for --secret or PATH=NAME for another; without one it is the path"
    aws.add_argument("--aws-secret", action="append", default=[], metavar="[PATH=]NAME", help=help_names)
    aws.add_argument(
        "--queue-arn", metavar="ARN", help="an SQS queue that it takes notices from, in addition to its address"
    )
    postgres = made.add_argument_group("postgres", "for a secret without its own host, port and database")
    postgres.add_argument("--postgres-host", default=LOOPBACK)
    postgres.add_argument("--postgres-port", type=int, default=5432)
    postgres.add_argument("--database", default="postgres")
    postgres.add_argument(
        "--postgres-ca-file", help="the server's CA, PEM; without it libpq's own variables configure TLS"
    )
    return made


def open_source(settings: argparse.Namespace) -> SecretSource:
    """The source that the settings name. Raises KeyturnError."""
    return HubSource(open_hub(settings)) if settings.source == "hub" else _aws(settings)


def keys_of(settings: argparse.Namespace) -> Callable[[], Sequence[Sensitive]]:
    """What tells the accepted keys. Raises OSError, KeyturnError where there are none now."""
    file: Path | None = settings.webhook_key_file
    keys = HubKeys(open_hub(settings), settings.webhook_key_path) if file is None else partial(keys_in, file)
    keys()
    return keys


def keys_in(file: Path) -> Sequence[Sensitive]:
    """The keys of a file."""
    return [Sensitive(key) for key in file.read_text().split()]


def serve(settings: argparse.Namespace) -> None:
    """Query and answer until SIGTERM or SIGINT; says ``ready`` on stdout when it does."""
    address = Address(settings.postgres_host, settings.postgres_port, settings.database, settings.postgres_ca_file)
    application = Application(settings.name, open_source(settings), settings.secret, address)
    receiver = Receiver(keys_of(settings))
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    listening = settings.host, settings.port
    with Server(listening, application, receiver, context_of(settings)) as server:
        application.start()
        if settings.queue_arn:
            read_queue(settings, receiver, application)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        sys.stdout.write(f"ready on {server.url}\n")
        sys.stdout.flush()
        stopped.wait()
        server.shutdown()
        thread.join()
    application.stop()


def read_queue(settings: argparse.Namespace, receiver: Receiver, application: Application) -> None:
    """Take notices from the queue as long as the process runs. Raises KeyturnError where it can't be read now."""
    from keyturn.providers.aws.queues import SqsReader

    def handle(text: str) -> int:
        return receiver.handle_message(text, application.follow)

    reader = SqsReader(settings.queue_arn, handle, endpoint_url=os.environ.get("KEYTURN_AWS_ENDPOINT"))
    reader.read_once(wait=0)
    threading.Thread(target=reader.run, daemon=True).start()


def main() -> int:
    """Run it; 1 where it can't begin."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    settings = parser().parse_args()
    try:
        serve(settings)
    except KeyturnError as error:
        sys.stderr.write(f"{settings.name}: {error}\n")
        return 1
    except psycopg2.Error as error:
        sys.stderr.write(f"{settings.name}: the database refuses its credential ({type(error).__name__})\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"{settings.name}: {error.filename or f'port {settings.port}'}: {error.strerror}\n")
        return 1
    return 0


def open_hub(settings: argparse.Namespace) -> "VaultHub":
    """The hub, with the login that the settings or the environment name. Raises Invalid."""
    from keyturn.providers.vault.hub import VaultHub
    from keyturn.settings.hub import HubSettings
    from keyturn.settings.hub_login import ROLE_ID_FILE, SECRET_ID_FILE

    files = {ROLE_ID_FILE: settings.role_id_file, SECRET_ID_FILE: settings.secret_id_file}
    login = {variable: file for variable, file in files.items() if file}
    return VaultHub(HubSettings.from_environment({**os.environ, **login}))


def _aws(settings: argparse.Namespace) -> SecretSource:
    from keyturn.providers.aws.secrets_manager import AwsSecretsManager

    pairs = [text.rpartition("=") for text in settings.aws_secret]
    names = {path or settings.secret: name for path, _, name in pairs}
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION", "")
    endpoint = os.environ.get("KEYTURN_AWS_ENDPOINT")
    return StoreSource(AwsSecretsManager("aws", region=region, endpoint_url=endpoint), names)


if __name__ == "__main__":
    sys.exit(main())
