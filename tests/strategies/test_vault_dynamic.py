"""Leases of the hub's database engine, against the real hub and database."""

from datetime import timedelta

import pytest

from keyturn.core.errors import Invalid
from keyturn.core.sensitive import SecretFields
from keyturn.strategies.vault_dynamic import VaultDynamic
from tests.contracts.strategy import Case, StrategyContract
from tests.support.lab import Declared, Lab


@pytest.fixture
def secret(lab: Lab) -> Declared:
    return lab.dynamic(ttl="24h")


def strategy(lab: Lab, secret: Declared, life: timedelta = timedelta(hours=24)) -> VaultDynamic:
    return VaultDynamic(lab.hub, lab.target(), "database", secret.role, life)


class TestVaultDynamic(StrategyContract):
    changes = frozenset({"username", "password", "lease_id"})

    @pytest.fixture
    def case(self, lab: Lab, secret: Declared) -> Case:
        def other_password(candidate: SecretFields) -> SecretFields:
            return candidate.merged({"password": "n0t-the-password-that-was-made"})

        return Case(strategy(lab, secret), SecretFields(secret.first), lab.logs_in, other_password)

    def test_every_version_has_a_lease_of_its_own(self, case: Case, lab: Lab, secret: Declared) -> None:
        change = case.installed()
        held = {fields["lease_id"].reveal() for fields in (case.current, change.candidate)}
        assert set(lab.hub.leases("database", secret.role)) == held
        case.strategy.revoke(case.strategy.ends(case.current), change.sequence)
        assert lab.hub.leases("database", secret.role) == [change.candidate["lease_id"].reveal()]


def test_a_role_whose_leases_are_too_short_is_refused_and_leaves_no_lease(lab: Lab, secret: Declared) -> None:
    before = lab.hub.leases("database", secret.role)
    with pytest.raises(Invalid, match=r"last 1 day, 0:00:00.*need 1 day, 0:00:01.*max_ttl"):
        strategy(lab, secret, timedelta(hours=24, seconds=1)).mint(SecretFields(secret.first))
    assert lab.hub.leases("database", secret.role) == before


def test_a_version_without_a_lease_names_nothing_to_end(lab: Lab, secret: Declared) -> None:
    assert strategy(lab, secret).ends(SecretFields({"username": "by-hand", "password": "x"})) == {}
