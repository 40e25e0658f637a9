"""A directory of people and groups: a real OpenLDAP on loopback, out of Debian's package."""

import os
import secrets
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from local.debian import Program
from local.programs import find_program
from local.support.files import private_directory, write_private
from local.support.ports import LOOPBACK
from local.support.process import Process

BASE: Final = "dc=example,dc=com"
ADMIN: Final = f"cn=admin,{BASE}"
TIMEOUT: Final = 20
"""Seconds for one call of a program."""


class OpenLdap:
    """People with passwords and the groups that they are in (``groupOfNames``), under ``directory``."""

    def __init__(self, directory: Path, port: int, groups: Mapping[str, tuple[str, ...]]) -> None:
        self.url = f"ldap://{LOOPBACK}:{port}"
        self.passwords = {name: secrets.token_hex(8) for members in groups.values() for name in members}
        self._admin = secrets.token_hex(8)
        self._directory = directory
        self._groups = groups
        self._process = Process("slapd", directory)

    def __enter__(self) -> "OpenLdap":
        server = tool("slapd")
        data = self._directory / "data"
        private_directory(data)
        write_private(self._directory / "slapd.conf", self._settings(server))
        arguments = ["-h", self.url, "-f", str(self._directory / "slapd.conf"), "-d", "256"]
        environment = {**os.environ, **server.environment}
        self._process.start([str(server.path), *arguments], ready=self._answers, environment=environment)
        self._modify("ldapadd", self._first_entries())
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()

    def accepts(self, name: str, password: str) -> bool:
        """Whether this is the person's password: the directory is bound to with it."""
        return self._call("ldapwhoami", person_dn(name), password).returncode == 0

    def groups_of(self, name: str) -> list[str]:
        """The groups that somebody is in, as the directory has it now."""
        filters = f"(&(objectClass=groupOfNames)(member={person_dn(name)}))"
        answer = self._call("ldapsearch", ADMIN, self._admin, "-LLL", "-b", BASE, filters, "cn")
        answer.check_returncode()
        return sorted(line.removeprefix("cn: ") for line in answer.stdout.splitlines() if line.startswith("cn: "))

    def remove(self, name: str, group: str) -> None:
        """Take somebody out of a group that has others."""
        entry = f"dn: {group_dn(group)}\nchangetype: modify\ndelete: member\nmember: {person_dn(name)}\n"
        self._modify("ldapmodify", entry)

    def _settings(self, server: Program) -> str:
        root = server.root or Path("/")
        schemas = [f"include {root}/etc/ldap/schema/{name}.schema" for name in ("core", "cosine", "inetorgperson")]
        return "\n".join(
            [
                *schemas,
                f"modulepath {root}/usr/lib/ldap",
                "moduleload back_mdb",
                "database mdb",
                f'directory "{self._directory / "data"}"',
                f'suffix "{BASE}"',
                f'rootdn "{ADMIN}"',
                f"rootpw {self._admin}",
                "access to attrs=userPassword by anonymous auth by * none",
                "access to * by * none",
                "",
            ]
        )

    def _first_entries(self) -> str:
        entries = [f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n"]
        entries += [
            f"dn: {person_dn(name)}\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name}\nsn: {name}\n"
            f"userPassword: {password}\n"
            for name, password in self.passwords.items()
        ]
        for group, members in self._groups.items():
            listed = "".join(f"member: {person_dn(name)}\n" for name in members)
            entries.append(f"dn: {group_dn(group)}\nobjectClass: groupOfNames\ncn: {group}\n{listed}")
        return "\n".join(entries)

    def _answers(self) -> bool:
        return self._call("ldapwhoami", ADMIN, self._admin).returncode == 0

    def _modify(self, name: str, entries: str) -> None:
        file = self._directory / "change.ldif"
        write_private(file, entries)
        self._call(name, ADMIN, self._admin, "-f", str(file)).check_returncode()

    def _call(self, name: str, dn: str, password: str, *more: str) -> subprocess.CompletedProcess[str]:
        """Run one of the directory's own programs, bound as ``dn``; the password comes by a pipe."""
        client = tool(name)
        command = [str(client.path), "-x", "-H", self.url, "-D", dn, "-y", "/dev/stdin", *more]
        environment = {**os.environ, **client.environment, "LDAPNOINIT": "1"}
        return subprocess.run(
            command, input=password, capture_output=True, text=True, check=False, timeout=TIMEOUT, env=environment
        )


def tool(name: str) -> Program:
    """The server, or one of the programs that ask it."""
    return find_program(name)


def person_dn(name: str) -> str:
    """What the directory calls a person."""
    return f"uid={name},{BASE}"


def group_dn(name: str) -> str:
    """What it calls a group."""
    return f"cn={name},{BASE}"
