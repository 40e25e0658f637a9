"""Revoking many secrets requires their exact number."""

from datetime import UTC, datetime

import pytest

from keyturn.core.errors import Denied, Invalid
from keyturn.core.ports.hub import Right
from keyturn.core.ports.ledger import Outcome
from keyturn.ledger.entries import parse_leaf
from keyturn.revocation import run
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import Incident, Mode
from keyturn.revocation.incidents.store import find_incident
from keyturn.revocation.selector import Selection, Selector, select_secrets
from keyturn.rotation.state.context import Workspace
from local.prepare import POLICIES
from tests.support.lab import Declared, Lab, Opened, fresh
from tests.support.people import hub_with


class Attempt:
    """Secrets that somebody wants to end."""

    def __init__(self, lab: Lab, *secrets: Declared) -> None:
        self.lab, self.secrets, self.incident = lab, secrets, fresh()
        self.opened: Opened = lab.open(*secrets)

    @property
    def workspace(self) -> Workspace:
        return self.opened.workspace

    def begin(self, selection: Selection, expect: int = 0, mode: Mode = Mode.REPLACE) -> Incident:
        return run.begin(
            self.workspace,
            selection,
            incident=self.incident,
            reason="leaked",
            mode=mode,
            selector="what was asked for",
            triggered_at=datetime.now(UTC),
            consent=Consent(expect),
        )

    def assert_refused(self, right: int, selection: Selection, expect: int = 0, mode: Mode = Mode.REPLACE) -> None:
        """Nothing is changed, the right number is told with what it is about, and the attempt stands in the ledger."""
        with pytest.raises(Invalid, match=f"--expect {right}") as refused:
            self.begin(selection, expect, mode)
        assert (*selection.paths, *selection.leases)[0] in refused.value.hint
        assert find_incident(self.workspace, self.incident) is None
        assert [self.lab.current(secret) for secret in self.secrets] == [secret.first for secret in self.secrets]
        leaves = [parse_leaf(leaf).entry for _, leaf in self.workspace.ledger.leaves()]  # type: ignore[attr-defined]
        mine = [entry for entry in leaves if self.incident in entry.note]
        assert [(entry.action, entry.outcome) for entry in mine] == [("open incident", Outcome.DENIED)]


def test_more_than_five_secrets_need_their_number(lab: Lab) -> None:
    attempt = Attempt(lab, *(lab.generated() for _ in range(6)))
    selection = select_secrets(attempt.workspace, Selector(paths=tuple(one.path for one in attempt.secrets)))
    attempt.assert_refused(6, selection)


@pytest.mark.parametrize("expect", [1, 5, 7, 10_000])
def test_a_wrong_number_revokes_nothing(lab: Lab, expect: int) -> None:
    attempt = Attempt(lab, *(lab.generated() for _ in range(6)))
    attempt.assert_refused(6, Selection(tuple(sorted(one.path for one in attempt.secrets))), expect)


@pytest.mark.parametrize("pattern", ["**", "**/*", "*/**"])
def test_revoking_everything_needs_the_number_however_small(lab: Lab, pattern: str) -> None:
    attempt = Attempt(lab, lab.generated(), lab.generated())
    attempt.assert_refused(2, select_secrets(attempt.workspace, Selector(paths=(pattern,))))


def test_a_secret_without_replacement_needs_the_number_even_alone(lab: Lab) -> None:
    attempt = Attempt(lab, lab.generated())
    attempt.assert_refused(1, Selection((attempt.secrets[0].path,)), mode=Mode.REVOKE_ONLY)


def test_a_wrong_number_for_a_single_secret_revokes_nothing(lab: Lab) -> None:
    attempt = Attempt(lab, lab.generated())
    attempt.assert_refused(1, Selection((attempt.secrets[0].path,)), expect=2)


def test_revoking_leases_by_prefix_needs_their_number(lab: Lab) -> None:
    secret = lab.dynamic()
    attempt = Attempt(lab, secret)
    selection = select_secrets(attempt.workspace, Selector(lease_prefix=f"database/creds/{secret.role}"))
    assert (len(selection.paths), len(selection.leases)) == (1, 1)
    attempt.assert_refused(2, selection, expect=1)
    assert lab.logs_in(secret.first)


def test_the_right_number_revokes_them_and_a_resumed_incident_does_not_ask_again(lab: Lab) -> None:
    attempt = Attempt(lab, *(lab.generated() for _ in range(6)))
    selection = Selection(tuple(sorted(one.path for one in attempt.secrets)))
    opened = attempt.begin(selection, 6)
    assert attempt.begin(selection).id == opened.id
    assert all(secret.path in opened.paths for secret in attempt.secrets)
    run.finish(attempt.workspace, opened.id)
    assert all(lab.current(secret)["value"] != secret.first["value"] for secret in attempt.secrets)


def test_up_to_five_secrets_need_no_number(lab: Lab) -> None:
    attempt = Attempt(lab, *(lab.generated() for _ in range(5)))
    assert attempt.begin(Selection(tuple(sorted(one.path for one in attempt.secrets)))).closed_at is None


@pytest.mark.parametrize("lease", ["auth/approle/login/h1", "AUTH/token/create/x", "/auth/userpass/login/a", "sys/x"])
def test_a_login_written_into_a_secret_is_not_revoked_as_its_lease(lab: Lab, lease: str) -> None:
    with pytest.raises(Invalid, match="logins and the hub's own"):
        lab.hub.revoke_lease(lease)


def test_the_revokers_policy_itself_denies_to_find_and_to_end_logins(lab: Lab) -> None:
    for name in ("keyturn-worker", "keyturn-revoker"):
        lab.root.sys.create_or_update_policy(name, (POLICIES / f"{name}.hcl").read_text())
    policies = ["keyturn-worker", "keyturn-revoker"]
    token = lab.root.auth.token.create(policies=policies, ttl="1h")["auth"]["client_token"]
    hub = hub_with(lab, token)
    folders = [f"sys/leases/lookup/{folder}/" for folder in ("auth", "auth/approle/login", "sys", "database/creds")]
    denied = hub.missing_capabilities([Right("list", folder) for folder in folders])
    assert [right.path for right in denied] == folders[:3]
    for lease in ("auth/approle/login/h1", "sys/wrapping/wrap/h1"):
        with pytest.raises(Denied):
            hub._calls.post("revoke", lease, "sys/leases/revoke", {"lease_id": lease, "sync": True})
