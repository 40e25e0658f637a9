"""The hub's PKI engine: sign requests, find and revoke certificates."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from keyturn.core.errors import CandidateRejected, Invalid, NotFound
from keyturn.core.ports.authorities import Issuer
from keyturn.core.ports.engines import (
    OCSP,
    REVOCATION_LIST,
    Certificate,
    CertificateRole,
    Issued,
    Publication,
    SubjectNames,
)
from keyturn.core.sensitive import Sensitive
from keyturn.providers.accounts import GIVEN_UP
from keyturn.providers.answers import reads_answers
from keyturn.providers.keys import x509
from keyturn.providers.keys.revocation_status import list_says_revoked, ocsp_question, ocsp_says_revoked
from keyturn.providers.vault.client import Calls
from keyturn.providers.vault.engines.pki_content import VaultPkiEngine

SERIAL: Final = re.compile(r"[0-9a-f]{2}([:-][0-9a-f]{2})+")
"""A serial number in the hub's form, to exclude ``cert/ca`` and ``cert/crl``."""


OCSP_ANSWER: Final = "application/ocsp-response"


def question(pem: str, issuer: Issuer) -> tuple[bytes, str]:
    return ocsp_question(pem, issuer.certificate), "application/ocsp-request"


@reads_answers("the hub")
class VaultAuthority:
    """A :class:`keyturn.core.ports.engines.Authority`: a ``role`` of the engine at ``mount``."""

    def __init__(self, calls: Calls, mount: str, role: str, issuer: str | None) -> None:
        self.name = f"{mount}/roles/{role}"
        self._calls = calls
        self.mount = mount
        self._role = role
        self._issuer = issuer

    def allows(self) -> CertificateRole:
        role = self._read_role()
        longest = timedelta(seconds=role["max_ttl"]) if role["max_ttl"] else None
        stores, leases = not role["no_store"], bool(role.get("generate_lease"))
        return CertificateRole(longest, role["key_type"], role["key_bits"], stores, leases)

    def sign(self, private_key: Sensitive, names: SubjectNames, ttl: timedelta) -> Issued:
        """Both request and body name the subject, because the role chooses one."""
        through = f"{self.mount}/issuer/{self._issuer}" if self._issuer else self.mount
        body = {
            "csr": x509.signing_request(private_key, names),
            "common_name": names.common_name,
            "alt_names": ",".join(sorted(names.dns)),
            "ip_sans": ",".join(sorted(names.addresses)),
            "ttl": f"{int(ttl.total_seconds())}s",
        }
        try:
            signed = self._calls.post("sign", self.name, f"{through}/sign/{self._role}", body).json()["data"]
        except Invalid:
            problem = "the authority refuses the request"
            hint = "See the role's allowed_domains, allow_bare_domains, allow_subdomains, allow_ip_sans and key_type"
            raise Invalid("sign", self.name, problem, f"{hint}, and how long the authority itself is valid") from None
        chain = "".join(map(_line, signed.get("ca_chain") or [signed["issuing_ca"]]))
        return Issued(_line(signed["certificate"]), chain, x509.describe_certificate(signed["certificate"]))

    def examine(self, pem: str, chain: str, private_key: Sensitive, now: datetime) -> Certificate:
        try:
            certificate = x509.describe_certificate(pem)
            if not x509.belongs_to_key(pem, private_key):
                raise self._rejected("the certificate is not the private key's")
            if x509.chain_is_broken(pem, chain, self._anchor(), now):
                raise self._rejected("no valid chain leads from the certificate to the hub's authority")
        except Invalid as error:
            raise self._rejected(error.problem) from None
        return certificate

    def find(self, serial: str) -> Certificate | None:
        if not SERIAL.fullmatch(serial):
            return None
        name = f"{self.mount}/cert/{serial}"
        if (stored := self._calls.data("read", name, name)) is None:
            return None
        return replace(x509.describe_certificate(stored["certificate"]), revoked=bool(stored.get("revocation_time")))

    def published(self, serial: str) -> Publication | None:
        name = f"{self.mount}/cert/{serial}"
        stored = self._calls.data("read", name, name) if SERIAL.fullmatch(serial) else None
        if stored is None:
            return None
        pem = stored["certificate"]
        signer = x509.describe_authority(pem)["signer_key_id"]
        if (issuer := VaultPkiEngine(self._calls, self.mount).issuer_of_key(signer)) is None:
            return None
        now = self._calls.now() or datetime.now(UTC)
        response = self._calls.send("ask", f"{self.mount}/ocsp", f"{self.mount}/ocsp", *question(pem, issuer))
        if response is not None and OCSP_ANSWER in response.headers.get("Content-Type", ""):
            revoked = ocsp_says_revoked(response.content, pem, issuer.certificate, now, self.mount)
            if revoked is not None:
                return Publication(revoked, OCSP)
        place = f"{self.mount}/issuer/{issuer.id}/crl/der"
        if (listed := self._calls.find("read", place, place)) is None:
            return None
        return Publication(list_says_revoked(listed.content, pem, issuer.certificate, now, self.mount), REVOCATION_LIST)

    def revoke(self, serial: str) -> None:
        """Revoke by serial. Absent is success; the hub ignores expired certificates."""
        if not SERIAL.fullmatch(serial):
            return
        name = f"{self.mount}/cert/{serial}"
        try:
            self._calls.post("revoke", name, f"{self.mount}/revoke", {"serial_number": serial})
        except NotFound:
            # The hub tidies expired certificates, and an absent mount honours none.
            return

    def _anchor(self) -> str:
        """The topmost authority that the hub knows above the issuer."""
        issuer = self._issuer or self._read_role().get("issuer_ref") or "default"
        name = f"{self.mount}/issuer/{issuer}/json"
        certificates = self._calls.get("read", name, name).json()["data"]
        return str((certificates["ca_chain"] or [certificates["certificate"]])[-1])

    def _read_role(self) -> Any:
        return self._calls.get("read", self.name, self.name).json()["data"]

    def _rejected(self, problem: str) -> CandidateRejected:
        return CandidateRejected("verify", self.name, problem, GIVEN_UP)


def _line(pem: str) -> str:
    return pem.strip() + "\n"
