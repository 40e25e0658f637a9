"""How a server and its client prove who they are, by the names of Vault's own command line.

Source: "Vault CLI: environment variables".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from keyturn.core.errors import Invalid

FALSE: Final = frozenset({"", "0", "f", "false"})
"""What Go's strconv.ParseBool reads as no, in any case, and an unset variable."""


@dataclass(frozen=True)
class TlsSettings:
    """How a server and its client prove who they are.

    ``ca_file`` holds the authorities (PEM) that are trusted instead of the public ones. ``client_cert_file`` and
    ``client_key_file`` are for the server. ``server_name`` is the name in its certificate, where its address has
    another one.
    """

    ca_file: str | None = None
    client_cert_file: str | None = None
    client_key_file: str | None = None
    server_name: str | None = None


def tls_from_environment(env: Mapping[str, str]) -> TlsSettings:
    """Return the settings from Vault's own variables. Raises Invalid for those that would be ignored."""
    refuse_unread(env)
    return TlsSettings(
        env.get("VAULT_CACERT") or None,
        env.get("VAULT_CLIENT_CERT") or None,
        env.get("VAULT_CLIENT_KEY") or None,
        env.get("VAULT_TLS_SERVER_NAME") or None,
    )


def refuse_unread(env: Mapping[str, str]) -> None:
    """Raises Invalid for variables of Vault's command line that would change whom we trust, and are not read here."""
    if env.get("VAULT_SKIP_VERIFY", "").lower() not in FALSE:
        problem = "VAULT_SKIP_VERIFY is set, and the hub's certificate is always checked"
        raise distrusted(problem, "Unset it, and name the file with the CA of the hub in VAULT_CACERT")
    for name in ("VAULT_CAPATH", "VAULT_CACERT_BYTES"):
        # Where VAULT_CACERT is set, Vault's own command does not look at these either.
        if env.get(name) and not env.get("VAULT_CACERT"):
            problem = f"{name} is set, which is not read"
            raise distrusted(problem, "Put the authorities' certificates into one file, and name it in VAULT_CACERT")


def distrusted(problem: str, hint: str) -> Invalid:
    return Invalid("trust", "the hub", problem, hint)
