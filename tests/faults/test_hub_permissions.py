"""A rotation while the worker's hub policy lacks a right, and after it was added."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keyturn.core.errors import Denied
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.providers.vault.hub import VaultHub
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from keyturn.wiring.registry import open_workspace
from local.environment import LEASE_TOKEN_ROLE
from local.prepare import POLICIES, WORKER
from tests.faults.outcome import assert_healed, assert_never_refused, assert_untouched, candidate
from tests.support.application import Patient
from tests.support.lab import Declared, Lab, fresh

WHOLE = (POLICIES / f"{WORKER}.hcl").read_text()

Worker = Callable[[Declared], Workspace]


class Policy:
    """A policy of its own in the hub, and a token that has it alone; it may be changed while the token is in use."""

    def __init__(self, lab: Lab, file: Path) -> None:
        self._root = lab.root
        self.name = fresh()
        self.allow(WHOLE)
        made = self._root.auth.token.create(policies=[self.name])
        file.touch(0o600)
        file.write_text(made["auth"]["client_token"])

    def allow(self, text: str) -> None:
        """What the token may do from here on."""
        self._root.sys.create_or_update_policy(self.name, text)

    def remove(self) -> None:
        """It is not needed any more."""
        self._root.sys.delete_policy(self.name)


@pytest.fixture
def policy(lab: Lab, tmp_path: Path) -> Iterator[Policy]:
    made = Policy(lab, tmp_path / "token")
    yield made
    made.remove()


@pytest.fixture
def worker(lab: Lab, policy: Policy, tmp_path: Path) -> Iterator[Worker]:
    """Opens a Keyturn that uses the token."""
    settings = HubSettings(
        lab.world.hub_address, login=TokenLogin(file=str(tmp_path / "token")), lease_token_role=LEASE_TOKEN_ROLE
    )
    hub = VaultHub(settings)
    lab.hub.fingerprint_keys()
    yield lambda secret: open_workspace(lab.open(secret).workspace.catalogue, hub)
    hub.close()


def having(rights: str, at: str = ".*") -> str:
    """The worker's policy, but ``at`` these paths, a pattern, only these rights are left."""
    place = re.compile(rf'(path "{at}" {{\n  capabilities = )\[[^\]]*\]')
    assert place.search(WHOLE)
    return place.sub(rf"\g<1>[{rights}]", WHOLE)


@pytest.mark.parametrize("kind", ["alternating", "single", "dynamic"])
def test_a_worker_that_may_only_read_changes_nothing_and_names_its_policy(
    lab: Lab, policy: Policy, worker: Worker, kind: str
) -> None:
    secret: Declared = getattr(lab, kind)()
    workspace = worker(secret)
    policy.allow(having('"read", "list"'))
    with pytest.raises(
        Denied, match=r"the hub denies it. Give this identity's policy the path \S+ \(`keyturn setup hub --apply"
    ):
        rotate(workspace, secret.path, Trigger.FORCE)
    assert_untouched(lab, workspace, secret)
    policy.allow(WHOLE)
    rotate(workspace, secret.path, Trigger.FORCE)
    assert_healed(lab, workspace, secret)


def test_a_worker_that_may_not_promote_keeps_the_candidate_until_it_may(
    lab: Lab, policy: Policy, worker: Worker
) -> None:
    secret = lab.alternating()
    workspace = worker(secret)
    policy.allow(having('"read"', at=re.escape("secret/data/*")))
    with Patient(lab.hub, secret.path, lab.logs_in) as client:
        for _ in range(2):
            with pytest.raises(Denied, match=f"policy the path secret/data/{secret.path} "):
                rotate(workspace, secret.path, Trigger.FORCE)
            assert lab.current(secret) == secret.first
            assert lab.logs_in(secret.first)
        waiting = candidate(workspace, secret.path)
        assert lab.logs_in(SecretFields({**secret.first, **waiting.reveal()}))
        policy.allow(WHOLE)
        assert_healed(lab, workspace, secret, waiting)
    assert_never_refused(client)


def test_a_worker_that_may_not_annotate_has_promoted_and_the_next_run_says_so(
    lab: Lab, policy: Policy, worker: Worker
) -> None:
    secret = lab.alternating()
    workspace = worker(secret)
    policy.allow(having('"read", "list"', at=re.escape("secret/metadata/*")))
    with Patient(lab.hub, secret.path, lab.logs_in) as client:
        for _ in range(2):
            with pytest.raises(Denied, match=f"policy the path secret/metadata/{secret.path} "):
                rotate(workspace, secret.path, Trigger.FORCE)
            assert SecretFields(lab.current(secret)).holds(candidate(workspace, secret.path))
            assert lab.logs_in(secret.first)
        policy.allow(WHOLE)
        assert_healed(lab, workspace, secret, candidate(workspace, secret.path))
    assert_never_refused(client)


def test_a_worker_that_may_not_read_its_own_state_begins_nothing(lab: Lab, policy: Policy, worker: Worker) -> None:
    secret = lab.alternating()
    workspace = worker(secret)
    policy.allow(having('"list"', at=re.escape("keyturn/data/rotations/*")))
    with pytest.raises(Denied, match=f"policy the path keyturn/data/rotations/{secret.path} "):
        rotate(workspace, secret.path, Trigger.FORCE)
    policy.allow(WHOLE)
    assert_untouched(lab, workspace, secret)
