"""Certificates as applications use them: a TLS handshake in memory that also asks the revocation lists."""

import secrets
import ssl
from pathlib import Path
from typing import Any

import requests

from keyturn.core.sensitive import SecretFields
from local.prepare import CA, ROOT_CA
from tests.support.lab import Lab


class Pki:
    """The lab's authority, an intermediate one below a root, seen from outside."""

    mount = CA

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self.directory = directory

    def role(self, **changes: Any) -> str:
        """A fresh role, for names in `internal` and any address."""
        role = f"t{secrets.token_hex(6)}"
        allowed = {"allowed_domains": "internal", "allow_subdomains": True, "key_type": "any", "max_ttl": "2160h"}
        self.lab.root.write_data(f"{self.mount}/roles/{role}", data=allowed | changes)
        return role

    def root_certificate(self) -> str:
        """What clients trust: the root alone."""
        return self._raw(f"{ROOT_CA}/ca/pem")

    def revocation_list(self) -> str:
        """The authority's list, as anybody fetches it."""
        return self._raw(f"{self.mount}/crl/pem")

    def accepts(self, fields: SecretFields, name: str) -> bool:
        """Whether a client that trusts the root reaches a server of that name, and finds nothing revoked."""
        plain = fields.reveal()
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(self._file(plain["bundle"]), self._file(plain["private_key"]))
        client = ssl.create_default_context(cadata=self.root_certificate())
        client.load_verify_locations(self._file(self.revocation_list()))
        client.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        try:
            handshake(client, server, name)
        except ssl.SSLCertVerificationError:
            return False
        return True

    def _raw(self, path: str) -> str:
        answer = requests.get(f"{self.lab.world.hub_address}/v1/{path}", timeout=10)
        answer.raise_for_status()
        return answer.text

    def _file(self, text: str) -> str:
        file = self.directory / secrets.token_hex(6)
        file.write_text(text)
        return str(file)


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> bytes:
    """The certificate that was served, DER. Both ends are in this thread. Raises SSLCertVerificationError."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(back, there, server_hostname=name),
        server.wrap_bio(there, back, server_side=True),
    ]
    waiting = True
    while waiting:
        waiting = False
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                waiting = True
    served = ends[0].getpeercert(binary_form=True)
    assert served is not None
    return served
