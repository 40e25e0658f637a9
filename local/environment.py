"""The environment variables that lead a process to the local stack, and no further."""

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Final

from deployments.foreign_pages import origins
from keyturn.catalogue.operator.policy import VARIABLE
from keyturn.cli.local_stack import FOREIGN
from keyturn.project import root, roots
from keyturn.settings.directories import cache_directory
from local.home import Stack
from local.support.files import kept_secret, write_private

REGION: Final = "eu-central-1"
PROJECT: Final = "keyturn-local"
NAMESPACE: Final = "ml"
WORKER_ROLE: Final = "keyturn-worker"
REVOKER_ROLE: Final = "keyturn-revoker"
NOTARY_ROLE: Final = "keyturn-notary"
CLOUD_LOGINS: Final = (WORKER_ROLE, REVOKER_ROLE)
"""The logins that use stores."""
WITNESSES: Final = ("witness-1", "witness-2")
"""The services that cosign the ledger's checkpoints."""
LEASE_TOKEN_ROLE: Final = "keyturn-lease"


IN_BATCHES: Final = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
}
"""On SQLite every write of the server's own can make a client wait two seconds: fewer, larger ones.

The recorder's interval is cut to whole seconds by Prefect 3.9; below one it flushes without pause, on a whole core.
"""

NO_TOKENS: Final = {"PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false"}
"""The stack's server asks for no CSRF token, since its door refuses foreign pages: each client would ask for one."""

RETENTION: Final = {
    "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P2D",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": "1209600",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_EVENT_RETENTION_OVERRIDES": '{"prefect.flow-run.heartbeat": 3600}',
}
"""What Prefect keeps: events for two days, runs for two weeks. By itself it keeps runs for ever."""

ROOT: Final = root()
"""The directory that the packages ``deployments`` and ``flows`` are in."""


def environment(stack: Stack) -> dict[str, str]:
    """What a process needs to use the stack's hub, stores, target and Prefect server; no login to the hub."""
    return {
        "KEYTURN_HOME": str(stack.home),
        "KEYTURN_CATALOGUE": catalogue_directory(),
        "KEYTURN_POSTGRES_HOST": stack.host("postgres"),
        "KEYTURN_POSTGRES_PORT": str(stack.ports["postgres"]),
        "KEYTURN_POSTGRES_CA_FILE": ca_file(stack),
        "KEYTURN_TRAINER_URL": stack.url("trainer"),
        "KEYTURN_INFERENCE_URL": stack.url("inference"),
        "KEYTURN_CONSUMER_CA_FILE": ca_file(stack),
        **channel(stack),
        **operators_policy(stack),
        **ledger(stack),
        **hub(stack),
        **prefect(stack),
        **aws(stack),
        **azure(stack),
        **gcp(stack),
        **kubernetes(stack),
    }


def ca_file(stack: Stack) -> str:
    """The authority that every server of the stack is trusted by."""
    return str(stack.authority.certificate)


def catalogue_directory() -> str:
    """The catalogue that KEYTURN_CATALOGUE names, or the example."""
    return os.environ.get("KEYTURN_CATALOGUE") or str(ROOT / "deployments" / "catalogue")


def ledger(stack: Stack) -> dict[str, str]:
    """Where the ledger lies, in a directory that its first use makes, for its owner alone; its name, and witnesses.

    And the trail of who read what, for which it vouches.
    """
    return {
        "KEYTURN_LEDGER": str(stack.directory("ledger") / "ledger.db"),
        "KEYTURN_LEDGER_NAME": "local",
        "KEYTURN_TRAIL": str(stack.directory("trail")),
        **witnesses(stack),
    }


def witnesses(stack: Stack) -> dict[str, str]:
    """The keys and addresses of the witnesses that were started here; none in a stack that has none."""
    keys = {name: stack.directory(name) / "witness.pub" for name in WITNESSES if name in stack.ports}
    named = [f"{file.read_text().strip()} {stack.url(name)}" for name, file in keys.items() if file.exists()]
    if not named:
        return {}
    return {"KEYTURN_LEDGER_WITNESSES": ", ".join(named), "KEYTURN_LEDGER_WITNESS_CA_FILE": ca_file(stack)}


def channel(stack: Stack) -> dict[str, str]:
    """Where the person on call is told, in a file, once `keyturn up` was given it."""
    file = stack.home / "failure-url"
    return {"KEYTURN_FAILURE_URL_FILE": str(file)} if file.exists() else {}


def operators_policy(stack: Stack) -> dict[str, str]:
    """What catalogues may do on this machine: as its operator's file says, else the stack's own."""
    return {VARIABLE: os.environ.get(VARIABLE) or str(write_policy(stack))}


def write_policy(stack: Stack) -> Path:
    """An operator's file that lets catalogues name the stack's authority, and the tokens of cluster and project."""
    file = stack.authority.certificate.with_name("policy.yaml")
    text = json.dumps({"files": files_of(stack)}, indent=2)
    if not file.exists() or file.read_text() != text:
        write_private(file, text)
    return file


def files_of(stack: Stack) -> list[str]:
    """The directories of the files that the example's catalogue names."""
    return [str(stack.authority.certificate.parent), str(stack.directory("kubernetes")), str(stack.directory("gcp"))]


def hub(stack: Stack) -> dict[str, str]:
    """Where the hub is, and whom to trust there."""
    return {"VAULT_ADDR": stack.hub.address, "VAULT_CACERT": ca_file(stack)}


def prefect(stack: Stack) -> dict[str, str]:
    """The Prefect server and a home of its own, without reports to anybody."""
    password = stack.directory("prefect-server") / "password"
    return {
        "PREFECT_API_URL": f"{stack.url('prefect-server')}/api",
        # In containers alone: here the server is reached from this machine and no further.
        **({"PREFECT_API_AUTH_STRING": password.read_text()} if password.exists() else {}),
        "PREFECT_API_SSL_CERT_FILE": ca_file(stack),
        **NO_TOKENS,
        "PREFECT_HOME": str(stack.directory("prefect")),
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }


def prefect_server(stack: Stack) -> dict[str, str]:
    """What the Prefect server needs besides: a page of another origin may not use it through a browser."""
    return (
        prefect(stack)
        | IN_BATCHES
        | RETENTION
        | {
            "PREFECT_SERVER_UI_API_URL": f"{stack.url('prefect-server')}/api",
            "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(stack.directory("prefect") / "ui"),
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": ",".join(origins([stack.ports["prefect-server"]])),
            "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        }
    )


def aws(stack: Stack) -> dict[str, str]:
    """AWS, with the access key in a file that its server makes."""
    return {
        "KEYTURN_AWS_ENDPOINT": stack.url("aws"),
        # For whatever names no address, such as `keyturn init --aws` and AWS's own command line.
        "AWS_ENDPOINT_URL": stack.url("aws"),
        "AWS_CA_BUNDLE": ca_file(stack),
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_SHARED_CREDENTIALS_FILE": str(stack.directory("aws") / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def aws_reader(stack: Stack) -> dict[str, str]:
    """The same with a key that may only read secrets, as an application has it."""
    return aws(stack) | {"AWS_SHARED_CREDENTIALS_FILE": str(stack.directory("aws-reader") / "credentials")}


def azure(stack: Stack) -> dict[str, str]:
    """The vault, who signs in to it, and the authority that its certificate is trusted by."""
    return {
        "KEYTURN_AZURE_VAULT_URL": stack.url("azure"),
        "KEYTURN_AZURE_AUTHORITY": stack.url("azure"),
        "KEYTURN_AZURE_CA_FILE": ca_file(stack),
        "AZURE_TENANT_ID": stack.tenant_id,
        "AZURE_CLIENT_ID": stack.client_id,
        "AZURE_CLIENT_SECRET": kept_secret(stack.directory("azure") / "client.secret"),
    }


def gcp(stack: Stack) -> dict[str, str]:
    """The project, its endpoint, the authority that it is trusted by, and the token that opens it, if any does."""
    endpoint = f"{stack.host('gcp')}:{stack.ports['gcp']}"
    token = {} if stack.hosts else {"KEYTURN_GCP_TOKEN_FILE": str(login_file(stack, "gcp", "token"))}
    return {
        "KEYTURN_GCP_PROJECT": PROJECT,
        "KEYTURN_GCP_ENDPOINT": endpoint,
        "KEYTURN_GCP_CA_FILE": ca_file(stack),
        **token,
    }


def kubernetes(stack: Stack) -> dict[str, str]:
    """The cluster's API, the authority that it is trusted by, and the file with the token that opens it."""
    token = stack.directory("kubernetes") / "token"
    kept_secret(token)
    return {
        "KEYTURN_KUBERNETES_SERVER": stack.url("kubernetes"),
        "KEYTURN_KUBERNETES_CA_FILE": ca_file(stack),
        "KEYTURN_KUBERNETES_TOKEN_FILE": str(token),
    }


def cloud_login(stack: Stack, name: str) -> dict[str, str]:
    """What lets the worker, or the revoker, into each cloud as itself; containers share one login.

    Each may do what its rights file says (:mod:`local.emulators.rights`), in AWS what its policies say.
    """
    if stack.hosts:
        return {}
    return {
        "AWS_SHARED_CREDENTIALS_FILE": str(login_file(stack, "aws", name)),
        "AZURE_CLIENT_ID": name,
        "AZURE_CLIENT_SECRET": kept_secret(login_file(stack, "azure", name)),
        "KEYTURN_GCP_TOKEN_FILE": str(login_file(stack, "gcp", name)),
        "KEYTURN_KUBERNETES_TOKEN_FILE": str(login_file(stack, "kubernetes", name)),
    }


def login_file(stack: Stack, cloud: str, name: str) -> Path:
    """The file that opens a cloud to this login, or stands for it; its rights are in the same with ``.json``."""
    return stack.directory(cloud) / name


def worker(stack: Stack, role: str = WORKER_ROLE) -> dict[str, str]:
    """All of the stack, with logins to hub and clouds of its own: the worker's, or those of another role."""
    login = stack.login_files(role)
    return (
        environment(stack)
        | cloud_login(stack, role if role in CLOUD_LOGINS else WORKER_ROLE)
        | {
            "KEYTURN_HUB_ROLE_ID_FILE": str(login.role_id),
            "KEYTURN_HUB_SECRET_ID_FILE": str(login.secret_id),
            "KEYTURN_HUB_LEASE_TOKEN_ROLE": LEASE_TOKEN_ROLE,
            # A run should begin soon after it was asked for; Prefect's own default is 10 s.
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }
    )


def revoker(stack: Stack) -> dict[str, str]:
    """The same for revocations: a login that may do more, and the hub's audit file, which tells who read a secret."""
    return worker(stack, REVOKER_ROLE) | {"KEYTURN_HUB_AUDIT_FILE": str(stack.hub.audit_log)}


def notary(stack: Stack) -> dict[str, str]:
    """The same for whoever signs the ledger's checkpoints: a login that may do that, and nothing else."""
    return worker(stack, NOTARY_ROLE)


def inherited() -> dict[str, str]:
    """This process's environment without what leads elsewhere, so that a child can import what this one can."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, (*map(str, roots()), variables.get("PYTHONPATH"))))
    if sys.dont_write_bytecode and not sys.pycache_prefix and not _compiled():
        # Compiling Prefect anew takes 20 s at every start. Kept apart, bytecode never lies beside the sources.
        variables.pop("PYTHONDONTWRITEBYTECODE", None)
        variables["PYTHONPYCACHEPREFIX"] = str(cache_directory() / "bytecode")
    return variables


def _compiled() -> bool:
    """Whether the installed packages have their bytecode beside them, as `make` leaves them."""
    spec = importlib.util.find_spec("prefect")
    return bool(spec and spec.origin and Path(importlib.util.cache_from_source(spec.origin)).exists())
