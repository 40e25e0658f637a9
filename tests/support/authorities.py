"""A root and an intermediate below it, as the catalogue declares them, in engines of the real hub."""

import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import requests

from keyturn.catalogue.pki import AuthoritySettings
from keyturn.core.ports.authorities import PkiStep
from keyturn.core.ports.engines import SubjectNames
from keyturn.core.ports.keys import KeyKind
from keyturn.core.sensitive import Sensitive
from keyturn.keys.authorities import apply_pki
from keyturn.providers.keys.key_maker import CryptographyKeys
from keyturn.rotation.state.context import Workspace
from tests.support.lab import Lab

DAY = timedelta(days=1)
NAMES = SubjectNames("a.ml.internal", frozenset({"a.ml.internal"}), frozenset())
ROLE = {"allowed_domains": ["ml.internal"], "allow_subdomains": True, "max_ttl": "47d", "key": "any"}


@dataclass
class Authorities:
    """A root and an intermediate below it, in mounts that nobody used before."""

    lab: Lab
    workspace: Workspace
    root: str
    services: str

    def declare(self, root: dict[str, Any] | None = None, services: dict[str, Any] | None = None) -> Workspace:
        """The catalogue with both, and these changes."""
        own = {"mount": self.root, "common_name": "Test Root", "ttl": "3650d", **(root or {})}
        below: dict[str, Any] = {
            "mount": self.services,
            "common_name": "Test Services",
            "ttl": "365d",
            "signed_by": "root",
        }
        below |= {"address": "https://hub.example.com:8200", "roles": {"ml-services": ROLE}, **(services or {})}
        made = {"root": AuthoritySettings(**own), "services": AuthoritySettings(**below)}
        self.workspace = replace(self.workspace, catalogue=self.workspace.catalogue.model_copy(update={"pki": made}))
        return self.workspace

    def mount(self) -> None:
        """Engines with room for ten years."""
        for path in (self.root, self.services):
            self.lab.root.sys.enable_secrets_engine("pki", path=path, config={"max_lease_ttl": "87600h"})

    def apply(self) -> list[str]:
        """What was done."""
        done: list[PkiStep] = []
        apply_pki(self.workspace, done.append)
        return [f"{step.kind} {step.place}" for step in done]

    def issue(self) -> tuple[str, str, Sensitive]:
        """A certificate as a secret has it: itself, its chain and its key."""
        key = CryptographyKeys().private_key(KeyKind.P_256)
        issued = self.lab.hub.authority(self.services, "ml-services").sign(key, NAMES, DAY)
        return issued.pem, issued.chain, key

    def anchors(self) -> list[str]:
        """Every root, as PEM."""
        state = self.lab.hub.pki(self.root).look(())
        assert state is not None
        return [issuer.certificate for issuer in state.issuers]

    def revocation_lists(self) -> str:
        """What every issuer of the intermediate publishes, as anybody fetches it, PEM."""
        state = self.lab.hub.pki(self.services).published()
        address = f"{self.lab.world.hub_address}/v1/{self.services}/issuer"
        answers = [requests.get(f"{address}/{issuer.id}/crl/pem", timeout=10) for issuer in state.issuers]
        for answer in answers:
            answer.raise_for_status()
        return "\n".join(answer.text for answer in answers)


def bare_authorities(lab: Lab) -> Authorities:
    """Both declared, and nothing mounted."""
    name = secrets.token_hex(5)
    workspace = replace(lab.open().workspace, hub_clock=lambda: datetime.now(UTC))
    made = Authorities(lab, workspace, f"root-{name}", f"services-{name}")
    made.declare()
    return made
