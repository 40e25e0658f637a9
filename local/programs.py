"""The programs that the local stack and the tests take from Debian's packages."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from local.debian import Program, program, release


@dataclass(frozen=True)
class Packaged:
    """Programs of one package. ``parts`` are packages that it needs to run, though it does not depend on them.

    ``version`` are the arguments with which the first program prints its version and ends with ``code``. ``folder`` is
    where the package keeps its programs, unless it is one that PATH names; ``libraries`` are subdirectories with
    libraries that only its own programs load.
    """

    package: str
    programs: Sequence[str]
    used_by: str
    version: Sequence[str] = ("--version",)
    parts: Sequence[str] = ()
    folder: str = ""
    libraries: Sequence[str] = ()
    code: int = 0


LIBRARY_PATH: Final = "LD_LIBRARY_PATH"
POSTGRESQL: Final = "15" if "bookworm" in release() else "17"
"""The version that this release of Debian has."""

PACKAGED: Final = (
    Packaged("mariadb-server-core", ["mariadbd"], "databases of the demo and the tests", parts=["mariadb-server"]),
    Packaged("redis-server", ["redis-server", "redis-cli"], "accounts of Redis, and Prefect's messages in containers"),
    Packaged(
        f"postgresql-{POSTGRESQL}",
        ["postgres"],
        "Prefect's database in production tests",
        folder=f"usr/lib/postgresql/{POSTGRESQL}/bin",
    ),
    Packaged("haproxy", ["haproxy"], "the balancer of the production topology", version=["-v"]),
    Packaged(
        "slapd",
        ["slapd", "ldapwhoami", "ldapsearch", "ldapmodify", "ldapadd"],
        "people's groups, and accounts in a directory",
        version=["-VV"],
        parts=["ldap-utils"],
    ),
    Packaged("rabbitmq-server", ["rabbitmq-server"], "accounts of RabbitMQ", version=()),
    Packaged("etcd-server", ["etcd"], "accounts of etcd, and etcd as a store"),
    Packaged("influxdb", ["influxd"], "accounts of InfluxDB 1", version=["version"]),
    Packaged("podman", ["podman"], "Podman's secrets as a store", parts=["conmon", "crun", "netavark", "aardvark-dns"]),
    Packaged("mosquitto", ["mosquitto"], "accounts in a file", version=["-h"], code=3),
    Packaged("nats-server", ["nats-server"], "accounts in a file"),
    Packaged("docker-registry", ["docker-registry"], "accounts in a file"),
    Packaged("bind9", ["named", "dig"], "TSIG keys", version=["-v"], parts=["bind9-dnsutils", "bind9-utils"]),
    Packaged("openssh-server", ["ssh", "sshd", "ssh-keygen"], "SSH keys", version=["-V"], parts=["openssh-client"]),
    Packaged(
        "unixodbc",
        ["isql"],
        "ODBC drivers that read what Keyturn writes",
        parts=["odbc-postgresql", "odbc-mariadb", "libpq5", "libmariadb3"],
    ),
    Packaged("faketime", ["faketime"], "processes with a wrong clock", parts=["libfaketime"]),
    Packaged("prometheus", ["prometheus", "promtool"], "alert rules, and the manual's page on numbers"),
    Packaged("kubernetes-client", ["kubectl"], "the Kustomize base", version=["version", "--client"]),
    Packaged(
        "systemd",
        ["systemd-analyze"],
        "the units' syntax and exposure",
        parts=["libsystemd-shared"],
        libraries=["systemd"],
    ),
    Packaged(
        "chromium",
        ["chromium"],
        "pages in a browser, and pictures",
        # Its start script expects that it is installed.
        folder="usr/lib/chromium",
        libraries=["pulseaudio"],
    ),
)

BY_PROGRAM: Final = {name: packaged for packaged in PACKAGED for name in packaged.programs}


def find_program(name: str) -> Program:
    """A program of the table. Raises NotFound or Unavailable as `program`, and KeyError if the table lacks it."""
    packaged = BY_PROGRAM[name]
    found = program(name, packaged.package, *packaged.parts, folder=packaged.folder)
    if found.root is None or not packaged.libraries:
        return found
    private = [str(place) for folder in packaged.libraries for place in found.root.glob(f"usr/lib/*-linux-*/{folder}")]
    path = os.pathsep.join([*private, *filter(None, [found.environment.get(LIBRARY_PATH)])])
    return replace(found, environment={**found.environment, LIBRARY_PATH: path})
