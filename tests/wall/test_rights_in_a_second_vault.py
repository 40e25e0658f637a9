"""The rendered policies for a second Vault allow a store's whole work, and nothing more."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from keyturn.core.errors import Denied
from keyturn.core.rights.rights import PROBE, Verdict
from keyturn.providers.vault import rights
from tests.support.lab import Lab
from tests.support.mounts import make_kv
from tests.wall.rendered import Rendered

pytestmark = pytest.mark.sampled(37, of="files")


class InVault(Rendered):
    """A mount of another server than the hub, as far as Keyturn can tell; one secret there is somebody else's."""

    def __init__(self, lab: Lab, mount: str, token_file: Path) -> None:
        self.mount, self.token_file = mount, token_file
        address, ca_file = lab.world.hub_address, lab.world.hub_ca
        settings = {"address": address, "mount": mount, "token_file": str(token_file), "ca_file": ca_file}
        super().__init__(lab, {"kind": "vault", **settings})

    def grant(self, revoking: bool) -> None:
        """A token with the rendered policies, without the hub's own policy ``default``."""
        self.become([text for name, text in self.documents.items() if revoking or "revoker" not in name])

    def become(self, texts: list[str]) -> None:
        """A token with these policies."""
        names = [f"{self.mount}-{number}" for number in range(len(texts))]
        for name, text in zip(names, texts, strict=True):
            self.lab.root.sys.create_or_update_policy(name, text)
        made = self.lab.root.auth.token.create(policies=names, no_default_policy=True, ttl="1h")
        self.token_file.write_text(made["auth"]["client_token"])

    def ask(self, method: str, path: str, body: dict[str, Any]) -> requests.Response:
        """What the server answers whoever has the token."""
        names = {"mount": self.mount, "own": self.remote}
        plain = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else {}
        return requests.request(
            method,
            f"{self.lab.world.hub_address}/v1/{path.format(**names)}",
            headers={"X-Vault-Token": self.token_file.read_text(), **plain},
            data=json.dumps(body) if body else None,
            timeout=20,
        )

    def verdicts(self, revoking: bool) -> list[Verdict]:
        """What the server says of the login."""
        return list(rights.ask_second_vault("memory", self.copies, revoking, **self.opened_with()))


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InVault]:
    mount = f"kv-{secrets.token_hex(4)}"
    make_kv(lab.root, mount)
    made = InVault(lab, mount, tmp_path_factory.mktemp("second") / "token")
    for name in (made.foreign, "theirs"):
        lab.root.secrets.kv.v2.create_or_update_secret(name, {"a": "b"}, mount_point=mount)
    yield made
    lab.root.sys.disable_secrets_engine(mount)


def test_with_the_rendered_policies_the_whole_job_is_done_and_an_incident_is_proven(site: InVault) -> None:
    site.work()
    site.revoke()


ATTACKS: Final[list[tuple[str, str, dict[str, Any]]]] = [
    ("GET", "{mount}/data/theirs", {}),
    ("POST", "{mount}/data/theirs", {"data": {"a": "c"}}),
    ("POST", "{mount}/data/unheard", {"data": {"a": "c"}}),
    ("PATCH", "{mount}/data/{own}", {"data": {"a": "c"}}),
    ("PATCH", "{mount}/metadata/theirs", {"custom_metadata": {"a": "b"}}),
    ("PATCH", "{mount}/metadata/{own}", {"max_versions": 1}),
    ("PATCH", "{mount}/metadata/{own}", {"custom_metadata": {"a": "b"}, "delete_version_after": "1s"}),
    ("DELETE", "{mount}/metadata/{own}", {}),
    ("DELETE", "{mount}/data/{own}", {}),
    ("POST", "{mount}/delete/{own}", {"versions": [1]}),
    ("POST", "{mount}/destroy/{own}", {"versions": [1]}),
    ("POST", "{mount}/undelete/{own}", {"versions": [1]}),
    ("POST", "{mount}/config", {"max_versions": 1}),
    ("LIST", "{mount}/data", {}),
    ("GET", "secret/data/a", {}),
    ("LIST", "secret/metadata", {}),
    ("GET", "keyturn/data/fingerprint-key", {}),
    ("LIST", "sys/policies/acl", {}),
    ("POST", "sys/policies/acl/mine", {"policy": ""}),
    ("POST", "sys/mounts/mine", {"type": "kv"}),
    ("POST", "auth/token/create", {}),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=[" ".join((*attack[:2], *attack[2])) for attack in ATTACKS])
def test_a_call_outside_the_rendered_policy_is_refused(site: InVault, attack: tuple[str, str, dict[str, Any]]) -> None:
    site.grant(revoking=False)
    response = site.ask(*attack)
    assert (response.status_code, "permission denied" in response.text) == (403, True), response.text


@pytest.mark.parametrize("path", ["{mount}/metadata/theirs", "{mount}/data/theirs"])
def test_the_revoker_can_not_end_other_owners_secrets(site: InVault, path: str) -> None:
    site.grant(revoking=True)
    assert site.ask("DELETE", path, {}).status_code == 403
    assert site.ask("POST", path.replace("metadata", "destroy").replace("data", "destroy"), {}).status_code == 403


# --- what the login may do is told by the server

LOOKS: Final = 'path "auth/token/lookup-self" { capabilities = ["read"] }'


@pytest.mark.parametrize("revoking", [False, True])
def test_a_login_with_the_rendered_policies_has_exactly_the_rights_it_needs(site: InVault, revoking: bool) -> None:
    site.grant(revoking)
    verdicts = site.verdicts(revoking)
    assert {verdict.allowed for verdict in verdicts if verdict.needed} == {True}
    assert [verdict for verdict in verdicts if not verdict.needed] == []


def test_missing_and_excess_rights_of_a_login_are_reported(site: InVault) -> None:
    asks = f'{LOOKS} path "sys/capabilities-self" {{ capabilities = ["update"] }}'
    more = (
        f'path "{site.mount}/data/*" {{ capabilities = ["read"] }} path "sys/mounts/*" {{ capabilities = ["create"] }}'
    )
    site.become([asks, more])
    verdicts = site.verdicts(revoking=True)
    lacking = {(verdict.call, verdict.place) for verdict in verdicts if verdict.needed and not verdict.allowed}
    beyond = {(verdict.call, verdict.place) for verdict in verdicts if not verdict.needed and verdict.allowed}
    assert ("update", f"{site.mount}/destroy/{site.remote}") in lacking
    assert ("read", f"{site.mount}/data/{site.remote}") not in lacking
    assert {("read", f"{site.mount}/data/{PROBE}"), ("create", f"sys/mounts/{PROBE}")} <= beyond
    site.token_file.write_text(site.lab.world.hub_token)
    assert [verdict for verdict in site.verdicts(revoking=False) if not verdict.needed] == [
        Verdict("root", "*", needed=False, allowed=True)
    ]


def test_a_login_that_may_not_check_its_rights_is_reported(site: InVault) -> None:
    site.become([LOOKS])
    with pytest.raises(Denied):
        site.verdicts(revoking=False)
