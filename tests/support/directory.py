"""Applications' accounts in a real OpenLDAP on loopback, with TLS, where Keyturn's own account has few rights."""

import os
import secrets
import subprocess
from pathlib import Path
from typing import Any

from keyturn.core.sensitive import SecretFields
from keyturn.providers.ldap.target import Ldap
from local.debian import Program
from local.support.files import private_directory, write_private
from local.support.ports import LOOPBACK, free_port
from local.support.process import Process
from local.support.tls import certificate_in
from tests.support.lab import fresh
from tests.support.openldap import BASE, TIMEOUT, tool

KEYTURN = f"cn=keyturn,{BASE}"
ADMIN = f"cn=admin,{BASE}"
APPS = f"ou=apps,{BASE}"
GROUPS = f"ou=groups,{BASE}"


class AppDirectory:
    """Serves under ``directory`` while it is entered."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.tls_port = free_port()
        self._directory = directory
        self._password = secrets.token_hex(12)
        self.admin = SecretFields({"username": KEYTURN, "password": secrets.token_hex(12)})
        self._process = Process("slapd", directory)

    def __enter__(self) -> "AppDirectory":
        private_directory(self._directory)
        self.files = certificate_in(self._directory / "tls")
        private_directory(self._directory / "data")
        server = tool("slapd")
        write_private(self._directory / "slapd.conf", self._settings(server))
        urls = f"ldap://{LOOPBACK}:{self.port} ldaps://{LOOPBACK}:{self.tls_port}"
        command = [str(server.path), "-h", urls, "-f", str(self._directory / "slapd.conf"), "-d", "0"]
        self._process.start(command, ready=lambda: self._binds(ADMIN, self._password), environment=environment(server))
        self._add(
            f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n",
            f"dn: {APPS}\nobjectClass: organizationalUnit\nou: apps\n",
            f"dn: {GROUPS}\nobjectClass: organizationalUnit\nou: groups\n",
            account_entry(KEYTURN, "keyturn", self.admin["password"].reveal()),
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()

    def where(self, tls: str = "ldaps") -> dict[str, Any]:
        """The target's settings without admin."""
        port = self.tls_port if tls == "ldaps" else self.port
        trust = {} if tls == "disable" else {"ca_file": str(self.files.authority)}
        dn = f"cn={{{{account}}}},{APPS}"
        return {"host": LOOPBACK, "port": port, "tls": tls, "account_dn": dn, **trust}

    def target(self, tls: str = "ldaps", **changes: Any) -> Ldap:
        return Ldap("directory", **{"admin": lambda: self.admin, **self.where(tls), **changes})

    def account(self, *groups: str) -> SecretFields:
        """A fresh account with a password that someone has set by hand."""
        name, password = fresh(), secrets.token_hex(12)
        self._add(account_entry(f"cn={name},{APPS}", name, password))
        for group in groups:
            self._add(f"dn: cn={group},{GROUPS}\nobjectClass: groupOfNames\ncn: {group}\nmember: cn={name},{APPS}\n")
        return SecretFields({"username": name, "password": password})

    def logs_in(self, fields: SecretFields) -> bool:
        """Whether a client gets in with this version."""
        return self._binds(f"cn={fields['username'].reveal()},{APPS}", fields["password"].reveal())

    def values(self, account: str, attribute: str) -> list[str]:
        """An attribute's values, as the administrator reads them."""
        found = self._run(
            "ldapsearch", ADMIN, self._password, "-LLL", "-o", "ldif-wrap=no", "-b", f"cn={account},{APPS}", attribute
        )
        found.check_returncode()
        return [line for line in found.stdout.splitlines() if line.lower().startswith(f"{attribute.lower()}:")]

    def _binds(self, dn: str, password: str) -> bool:
        return self._run("ldapwhoami", dn, password).returncode == 0

    def _add(self, *entries: str) -> None:
        file = self._directory / f"{fresh()}.ldif"
        write_private(file, "\n".join(entries))
        self._run("ldapadd", ADMIN, self._password, "-f", str(file)).check_returncode()

    def _run(self, name: str, dn: str, password: str, *more: str) -> subprocess.CompletedProcess[str]:
        client = tool(name)
        url = f"ldap://{LOOPBACK}:{self.port}"
        command = [str(client.path), "-x", "-H", url, "-D", dn, "-y", "/dev/stdin", *more]
        return subprocess.run(
            command,
            input=password,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
            env={**environment(client), "LDAPNOINIT": "1"},
        )

    def _settings(self, server: Program) -> str:
        root = server.root or Path("/")
        own = f'by dn.exact="{KEYTURN}"'
        lines = [
            *(f"include {root}/etc/ldap/schema/{name}.schema" for name in ("core", "cosine", "inetorgperson")),
            f"TLSCertificateFile {self.files.certificate.resolve()}",
            f"TLSCertificateKeyFile {self.files.key.resolve()}",
            f"modulepath {root}/usr/lib/ldap",
            "moduleload back_mdb",
            "moduleload memberof",
            "database mdb",
            f'directory "{self._directory / "data"}"',
            f'suffix "{BASE}"',
            f'rootdn "{ADMIN}"',
            f"rootpw {self._password}",
            f'access to dn.children="{APPS}" attrs=userPassword {own} write by anonymous auth by * none',
            f'access to dn.children="{APPS}" attrs=description {own} write by * none',
            "access to attrs=userPassword by anonymous auth by * none",
            f"access to * {own} read by * none",
            "overlay memberof",
            "",
        ]
        return "\n".join(lines)


def environment(program: Program) -> dict[str, str]:
    return {**os.environ, **program.environment}


def account_entry(dn: str, name: str, password: str) -> str:
    classes = "objectClass: organizationalRole\nobjectClass: simpleSecurityObject\n"
    return f"dn: {dn}\n{classes}cn: {name}\nuserPassword: {password}\n"
