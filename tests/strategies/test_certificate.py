"""Certificates of the hub's PKI engine, against the real hub and a TLS handshake, with a worker's own policy."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from keyturn.core.errors import CandidateRejected, Invalid, NotFound
from keyturn.core.ports.engines import SubjectNames
from keyturn.core.ports.keys import CertificateKey, KeyKind
from keyturn.core.ports.strategies import Change, RevokeResult
from keyturn.core.sensitive import SecretFields
from keyturn.providers.keys.key_maker import CryptographyKeys
from keyturn.providers.vault.hub import VaultHub
from keyturn.strategies.certificate import CertificateStrategy
from local.openbao import OpenBao
from tests.contracts.strategy import Case, StrategyContract
from tests.support.engines import worker_hub
from tests.support.lab import Lab
from tests.support.pki import Pki

pytestmark = pytest.mark.sampled(3, of="file")

NAMES = SubjectNames(
    "www.internal", frozenset({"www.internal", "api.internal", "*.apps.internal"}), frozenset({"10.1.2.3", "fd00::1"})
)
TTL = timedelta(days=30)
LIFE = timedelta(days=21)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def hub(lab: Lab, tmp_path: Path) -> Iterator[VaultHub]:
    """A worker's."""
    with worker_hub(lab, tmp_path) as opened:
        yield opened


@pytest.fixture
def pki(lab: Lab, tmp_path: Path) -> Pki:
    return Pki(lab, tmp_path)


def strategy(hub: VaultHub, pki: Pki, role: str, issuer: str | None = None, **changes: Any) -> CertificateStrategy:
    asked = {"names": NAMES, "kind": KeyKind.P_256, "ttl": TTL, "life": LIFE, "clock": now, **changes}
    clock = asked.pop("clock")
    authority = hub.authority(pki.mount, role, issuer)
    return CertificateStrategy("apps/contract", authority, CryptographyKeys(), clock, **asked)


def read(fields: SecretFields, name: str = "certificate") -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(fields[name].reveal().encode())


def change(made: CertificateStrategy, current: SecretFields | None = None, **fields: Any) -> Change:
    return Change("apps/contract", 5, made.mint(current).merged(fields), current)


class TestCertificate(StrategyContract):
    has_place = False
    changes = frozenset({"certificate", "private_key", "chain", "bundle", "serial", "expires_at"})
    steady = frozenset({"chain", "expires_at"})

    @pytest.fixture
    def case(self, hub: VaultHub, pki: Pki) -> Case:
        role = pki.role()
        made = strategy(hub, pki, role)
        others = SubjectNames("db.internal", frozenset({"db.internal"}), frozenset())

        def another_key(candidate: SecretFields) -> SecretFields:
            return candidate.merged({"private_key": CryptographyKeys().private_key(KeyKind.P_256)})

        return Case(
            made,
            made.mint(None),
            lambda fields: pki.accepts(fields, "api.internal"),
            another_key,
            stranger=strategy(hub, pki, role, names=others).mint(None),
        )

    def test_sweeping_ends_what_a_dead_run_left(self, case: Case) -> None:
        """Nothing of use is left: the key was nowhere but in the process that died."""
        before, orphan = case.existing_ids(), case.strategy.mint(case.current)
        case.remove_orphans(before, [case.current])
        assert before == ()
        assert case.works(orphan)

    def test_what_ends_a_credential_is_named_without_values(self, case: Case) -> None:
        ends = case.strategy.credential_id(case.current)
        assert ends == {"mount": "pki", "serial": case.current["serial"].reveal()}
        assert "PRIVATE" not in json.dumps(dict(ends))

    def test_a_revoked_certificate_is_on_the_authoritys_list(self, case: Case, pki: Pki) -> None:
        number = read(case.current)[0].serial_number
        assert revoked(pki, number) is None
        case.strategy.retire(case.strategy.credential_id(case.current), 5)
        found = revoked(pki, number)
        assert found is not None
        assert now() - found.revocation_date_utc < timedelta(minutes=1)


def revoked(pki: Pki, number: int) -> x509.RevokedCertificate | None:
    listed = x509.load_pem_x509_crl(pki.revocation_list().encode())
    return listed.get_revoked_certificate_by_serial_number(number)


# --- what a candidate is -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [KeyKind.P_256, KeyKind.P_384, KeyKind.P_521, KeyKind.RSA_2048, KeyKind.ED25519])
def test_every_kind_of_key_serves_under_every_name(hub: VaultHub, pki: Pki, kind: KeyKind) -> None:
    made = strategy(hub, pki, pki.role(), kind=kind)
    asked = change(made)
    made.verify(asked)
    assert CryptographyKeys().kind(asked.candidate["private_key"]) is kind
    for name in ("www.internal", "api.internal", "any.apps.internal", "10.1.2.3", "fd00::1"):
        assert pki.accepts(asked.candidate, name), name
    assert not pki.accepts(asked.candidate, "db.internal")


def test_the_bundle_is_the_certificate_and_the_whole_chain_below_an_intermediate(hub: VaultHub, pki: Pki) -> None:
    made = strategy(hub, pki, pki.role()).mint(None)
    leaf, chain, bundle = read(made), read(made, "chain"), read(made, "bundle")
    assert bundle == leaf + chain
    assert [one.issuer for one in bundle] == [one.subject for one in (*chain, chain[-1])]
    assert chain[-1] == x509.load_pem_x509_certificate(pki.root_certificate().encode())
    assert len(chain) == 2


def test_the_candidate_ends_with_its_certificate(hub: VaultHub, pki: Pki) -> None:
    made = strategy(hub, pki, pki.role()).mint(None)
    ends = datetime.fromisoformat(made["expires_at"].reveal())
    assert ends == read(made)[0].not_valid_after_utc
    assert abs(ends - now() - TTL) < timedelta(minutes=1)


def test_the_key_never_reaches_the_hub(openbao: OpenBao, lab: Lab, hub: VaultHub, pki: Pki) -> None:
    """Its audit log holds every request, with values only as keyed hashes: so the hash of the key must be absent."""
    made = strategy(hub, pki, pki.role()).mint(None)
    log = openbao.audit_log.read_text()
    hashed = {name: lab.root.sys.calculate_hash("file", made[name].reveal())["data"]["hash"] for name in made}
    assert hashed["serial"] in log
    assert hashed["private_key"] not in log


def test_a_certificate_of_the_issuer_that_was_named(lab: Lab, hub: VaultHub, pki: Pki) -> None:
    (default,) = [one for one, told in issuers(lab, pki).items() if told["is_default"]]
    made = strategy(hub, pki, pki.role(), issuer=default)
    made.verify(asked := change(made))
    assert pki.accepts(asked.candidate, "www.internal")
    with pytest.raises(NotFound):
        strategy(hub, pki, pki.role(), issuer="nobody").mint(None)


def issuers(lab: Lab, pki: Pki) -> dict[str, Any]:
    return dict(lab.root.list(f"{pki.mount}/issuers")["data"]["key_info"])


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["certificate", "chain", "bundle", "serial", "private_key"])
def test_a_candidate_whose_parts_do_not_belong_together_is_rejected(hub: VaultHub, pki: Pki, field: str) -> None:
    made = strategy(hub, pki, pki.role())
    sound, other = change(made), made.mint(None)
    made.verify(sound)
    foreign = other[field].reveal() if field != "chain" else pki.root_certificate()
    for wrong in (foreign, "", "-----BEGIN NOTHING-----"):
        with pytest.raises(CandidateRejected) as caught:
            made.verify(replace(sound, candidate=sound.candidate.merged({field: wrong})))
        assert caught.value.hint


def test_a_candidate_for_other_names_than_the_catalogue_has_now_is_rejected(hub: VaultHub, pki: Pki) -> None:
    role = pki.role()
    before = change(strategy(hub, pki, role))
    more = replace(NAMES, dns=NAMES.dns | {"new.internal"})
    with pytest.raises(CandidateRejected, match="other names"):
        strategy(hub, pki, role, names=more).verify(before)


def test_a_candidate_of_an_authority_that_the_hub_has_replaced_is_rejected(lab: Lab, hub: VaultHub, pki: Pki) -> None:
    made = change(strategy(hub, pki, role := pki.role()))
    lab.root.sys.enable_secrets_engine("pki", path=f"pki-{role}", config={"max_lease_ttl": "8760h"})
    asked = {"common_name": "Another", "key_type": "ec", "key_bits": 256, "ttl": "8000h"}
    lab.root.write_data(f"pki-{role}/root/generate/internal", data=asked)
    lab.root.write_data(f"pki-{role}/roles/{role}", data={"allow_any_name": True, "key_type": "any"})
    elsewhere = lab.hub.authority(f"pki-{role}", role)
    moved = CertificateStrategy(
        "apps/contract", elsewhere, CryptographyKeys(), now, names=NAMES, kind=CertificateKey.P_256, ttl=TTL, life=LIFE
    )
    with pytest.raises(CandidateRejected, match="no valid chain"):
        moved.verify(made)


def test_a_candidate_that_waited_too_long_is_rejected(hub: VaultHub, pki: Pki) -> None:
    role = pki.role()
    asked = change(strategy(hub, pki, role))
    strategy(hub, pki, role, clock=lambda: now() + timedelta(days=8)).verify(asked)
    with pytest.raises(CandidateRejected, match="before the next one's grace is over"):
        strategy(hub, pki, role, clock=lambda: now() + timedelta(days=10)).verify(asked)
    with pytest.raises(CandidateRejected, match="no valid chain"):
        strategy(hub, pki, role, clock=lambda: now() + timedelta(days=31)).verify(asked)


def test_a_candidate_that_was_revoked_meanwhile_is_rejected(hub: VaultHub, pki: Pki) -> None:
    made = strategy(hub, pki, pki.role())
    asked = change(made)
    made.abandon(asked)
    with pytest.raises(CandidateRejected, match="revoked"):
        made.verify(asked)


def test_a_candidate_that_serves_already_is_rejected(hub: VaultHub, pki: Pki) -> None:
    made = strategy(hub, pki, pki.role())
    candidate = made.mint(None)
    with pytest.raises(CandidateRejected, match="serves already"):
        made.verify(Change("apps/contract", 5, candidate, candidate))


@pytest.mark.parametrize(
    ("role", "said"),
    [
        ({"max_ttl": "719h"}, r"29 days, 23:00:00 at most, and ttl asks for 30 days.*max_ttl"),
        ({"key_type": "rsa", "key_bits": 2048}, "keys of rsa 2048, and the catalogue asks for p-256"),
        ({"key_type": "ec", "key_bits": 384}, "keys of ec 384, and the catalogue asks for p-256"),
        ({"key_type": "ed25519", "key_bits": 0}, "keys of ed25519, and the catalogue asks for p-256"),
        ({"no_store": True}, "no_store"),
        ({"generate_lease": True}, "login that asked for them.*generate_lease"),
    ],
)
def test_a_role_that_can_not_give_what_is_asked_is_refused_before_anything_is_signed(
    hub: VaultHub, pki: Pki, role: dict[str, Any], said: str
) -> None:
    with pytest.raises(Invalid, match=said) as caught:
        strategy(hub, pki, pki.role(**role)).preflight(None, None)
    assert caught.value.hint


@pytest.mark.parametrize(("kind", "bits"), [(KeyKind.P_256, 256), (KeyKind.P_521, 521), (KeyKind.P_384, 0)])
def test_a_role_for_keys_on_a_curve_takes_those(hub: VaultHub, pki: Pki, kind: KeyKind, bits: int) -> None:
    role = pki.role(key_type="ec", key_bits=bits) if bits else pki.role()
    strategy(hub, pki, role, kind=kind).preflight(None, None)


def test_a_role_that_is_not_there_is_not_found(hub: VaultHub, pki: Pki) -> None:
    with pytest.raises(NotFound, match="pki/roles/absent"):
        strategy(hub, pki, "absent").preflight(None, None)


def test_names_that_the_role_does_not_allow_are_invalid_and_the_hint_names_its_settings(
    hub: VaultHub, pki: Pki
) -> None:
    names = SubjectNames("www.example.com", frozenset({"www.example.com"}), frozenset())
    with pytest.raises(Invalid, match=r"refuses the request.*allowed_domains"):
        strategy(hub, pki, pki.role(use_csr_common_name=False), names=names).mint(None)


def test_a_certificate_that_the_mount_cut_short_is_revoked_and_refused(lab: Lab, hub: VaultHub, pki: Pki) -> None:
    role = pki.role(max_ttl="0")
    before = set(lab.root.list(f"{pki.mount}/certs")["data"]["keys"])
    lab.root.sys.tune_mount_configuration(pki.mount, max_lease_ttl="100h")
    try:
        with pytest.raises(Invalid, match=r"valid for 4 days.*ttl asks for 30 days"):
            strategy(hub, pki, role).mint(None)
    finally:
        lab.root.sys.tune_mount_configuration(pki.mount, max_lease_ttl="87600h")
    (serial,) = set(lab.root.list(f"{pki.mount}/certs")["data"]["keys"]) - before
    assert revoked(pki, int(serial.replace(":", ""), 16)) is not None


# --- whose certificate it is -------------------------------------------------------------------------------


def test_a_catalogue_with_other_names_goes_on_as_long_as_one_stays(hub: VaultHub, pki: Pki) -> None:
    role = pki.role()
    current = strategy(hub, pki, role).mint(None)
    renamed = SubjectNames("new.internal", frozenset({"new.internal", "api.internal"}), frozenset())
    made = strategy(hub, pki, role, names=renamed)
    made.preflight(current, None)
    made.verify(change(made, current))


def test_a_certificate_for_wholly_other_names_is_not_replaced_and_the_hint_leads_on(hub: VaultHub, pki: Pki) -> None:
    role = pki.role()
    current = strategy(hub, pki, role).mint(None)
    other = strategy(hub, pki, role, names=SubjectNames("db.internal", frozenset({"db.internal"}), frozenset()))
    with pytest.raises(Invalid, match=r"for .*api.internal.*take serial out of apps/contract"):
        other.preflight(current, None)
    other.preflight(SecretFields({name: value for name, value in current.items() if name != "serial"}), None)


@pytest.mark.parametrize("serial", ["", "ca", "crl", "../roles/x", "aa:bb", "AA:BB", "by hand"])
def test_a_serial_that_the_authority_does_not_know_stands_in_nobodys_way(hub: VaultHub, pki: Pki, serial: str) -> None:
    made = strategy(hub, pki, pki.role())
    by_hand = SecretFields({"serial": serial, "certificate": "something else"})
    made.preflight(by_hand, None)
    made.retire(made.credential_id(by_hand), 5)


def test_a_certificate_of_the_engine_that_the_catalogue_named_before_is_not_given_up(hub: VaultHub, pki: Pki) -> None:
    role = pki.role()
    made = strategy(hub, pki, role)
    ends = made.credential_id(made.mint(None))
    moved = CertificateStrategy(
        "apps/contract", hub.authority("elsewhere", role), CryptographyKeys(), now, names=NAMES,
        kind=CertificateKey.P_256, ttl=TTL, life=LIFE,
    )  # fmt: skip
    with pytest.raises(Invalid, match=r"engine at pki, and the catalogue says elsewhere"):
        moved.retire(ends, 5)


def test_a_secret_without_a_certificate_has_nothing_to_end(hub: VaultHub, pki: Pki) -> None:
    made = strategy(hub, pki, pki.role())
    made.preflight(SecretFields({"token": "x"}), None)
    assert made.credential_id(SecretFields({"token": "x"})) == {}


def test_an_expired_certificate_is_revoked_quietly(lab: Lab, hub: VaultHub, pki: Pki) -> None:
    role = pki.role()
    authority = hub.authority(pki.mount, role)
    issued = authority.sign(CryptographyKeys().private_key(KeyKind.P_256), NAMES, timedelta(seconds=1))
    while now() <= issued.certificate.ends_at:
        pass
    strategy(hub, pki, role).retire({"mount": pki.mount, "serial": issued.certificate.serial}, 5)
    assert revoked(pki, int(issued.certificate.serial.replace(":", ""), 16)) is None


# --- an emergency ------------------------------------------------------------------------------------------


def test_a_certificate_that_is_cut_is_on_the_list_and_who_still_takes_it_is_told(hub: VaultHub, pki: Pki) -> None:
    made = strategy(hub, pki, pki.role())
    current = made.mint(None)
    (said,) = made.revoke(current, 6).outlives
    assert revoked(pki, read(current)[0].serial_number) is not None
    ends_at = datetime.fromisoformat(current["expires_at"].reveal())
    assert current["serial"].reveal() in said
    assert f"no revocation list is checked, or an older copy of it, until {ends_at:%Y-%m-%d %H:%M} UTC" in said
    assert made.revoke(current, 6).outlives == (said,)


def test_a_certificate_that_has_expired_needs_no_cut_and_is_not_honoured(hub: VaultHub, pki: Pki) -> None:
    role = pki.role()
    current = strategy(hub, pki, role).mint(None)
    later = strategy(hub, pki, role, clock=lambda: now() + TTL)
    assert later.revoke(current, 6) == RevokeResult()
    assert later.accepts(current) is False
    assert revoked(pki, read(current)[0].serial_number) is None


def test_a_certificate_that_the_hub_does_not_know_is_told_and_nobody_can_say_whether_it_is_honoured(
    hub: VaultHub, pki: Pki
) -> None:
    made = strategy(hub, pki, pki.role())
    by_hand = SecretFields({"serial": "aa:bb", "certificate": "something else"})
    (said,) = made.revoke(by_hand, 6).outlives
    assert "which pki does not know: revoke it where it was made; it is accepted until it expires" in said
    assert made.accepts(by_hand) is None
    over = by_hand.merged({"expires_at": "2020-01-01T00:00:00+00:00"})
    assert (made.revoke(over, 6), made.accepts(over)) == (RevokeResult(), False)


def test_a_certificate_for_wholly_other_names_is_not_cut(hub: VaultHub, pki: Pki) -> None:
    role = pki.role()
    current = strategy(hub, pki, role).mint(None)
    other = strategy(hub, pki, role, names=SubjectNames("db.internal", frozenset({"db.internal"}), frozenset()))
    with pytest.raises(Invalid, match="none of which the catalogue names"):
        other.revoke(current, 6)
    assert pki.accepts(current, "api.internal")
