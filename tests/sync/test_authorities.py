"""Certificate authorities in real PKI engines: created once, renewed, and drift repaired."""

import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from cryptography import x509 as lib
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from keyturn.catalogue.pki import wanted_authorities
from keyturn.core.errors import Denied, Invalid, NotFound
from keyturn.core.ports.authorities import StepKind
from keyturn.core.ports.engines import OCSP, REVOCATION_LIST, Publication
from keyturn.core.ports.keys import CertificateKey
from keyturn.core.rights.hcl import policy
from keyturn.core.rights.rights import HubPlaces
from keyturn.keys.authorities import plan_pki
from keyturn.keys.authority_status import (
    AuthorityStanding,
    authority_statuses,
    due_authorities,
    renew_authority,
)
from keyturn.providers.keys import x509
from keyturn.providers.keys.key_maker import CryptographyKeys
from keyturn.providers.vault.hub import VaultHub
from keyturn.rights import hub_policies as policies
from keyturn.rights.scope import scope_of
from keyturn.rotation.state.context import Workspace
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from tests.support.authorities import DAY, NAMES, ROLE, Authorities, bare_authorities
from tests.support.lab import Lab

pytestmark = pytest.mark.sampled(4, of="file")


@pytest.fixture
def bare(lab: Lab) -> Authorities:
    return bare_authorities(lab)


@pytest.fixture
def authorities(bare: Authorities) -> Authorities:
    bare.mount()
    return bare


def test_what_is_declared_is_made_once_and_certificates_of_it_hold(authorities: Authorities) -> None:
    done = authorities.apply()
    assert [step for step in done if step.startswith("new issuer")] == [
        f"new issuer {authorities.root}/keyturn-1",
        f"new issuer {authorities.services}/keyturn-1",
    ]
    assert plan_pki(authorities.workspace) == []
    assert authorities.apply() == []
    pem, chain, _ = authorities.issue()
    assert not x509.chain_is_broken(pem, chain, authorities.anchors()[0], datetime.now(UTC))
    assert x509.describe_certificate(pem).names == NAMES


def test_the_plan_says_what_is_missing_and_changes_nothing(bare: Authorities) -> None:
    steps = plan_pki(bare.workspace)
    assert [(step.kind, step.place) for step in steps] == [
        (StepKind.BLOCKED, bare.root),
        (StepKind.BLOCKED, bare.services),
    ]
    assert "there is no PKI engine" in steps[0].why
    assert bare.apply() == []
    bare.mount()
    assert {step.kind for step in plan_pki(bare.workspace)} == {StepKind.CONFIGURE, StepKind.MAKE}
    assert bare.anchors() == []


@pytest.mark.attack
def test_a_mount_of_another_engine_is_left_alone(bare: Authorities) -> None:
    bare.declare(root={"mount": "secret"})
    with pytest.raises(Invalid, match="an engine of the type kv, and not pki"):
        bare.apply()


@pytest.mark.attack
def test_a_manual_change_is_reported_and_reverted(authorities: Authorities) -> None:
    authorities.apply()
    role = f"{authorities.services}/roles/ml-services"
    root = authorities.lab.root
    root.write_data(role, data={**ROLE, "allowed_domains": ["ml.internal", "example.com"], "max_ttl": "90d"})
    root.write_data(f"{authorities.services}/config/crl", data={"ocsp_disable": True})
    issuers = f"{authorities.services}/config/issuers"
    in_force = root.read(issuers)["data"]["default"]
    root.write_data(issuers, data={"default": in_force, "default_follows_latest_issuer": True})
    drift = {step.place: step.why for step in plan_pki(authorities.workspace)}
    assert "allowed_domains is ml.internal, example.com, declared is ml.internal" in drift[role]
    assert "max_ttl is 7776000, declared is 4060800" in drift[role]
    assert drift[issuers] == "default_follows_latest_issuer is True, declared is False"
    assert "ocsp_disable is True, declared is False" in drift[f"{authorities.services}/config/crl"]
    authorities.apply()
    assert plan_pki(authorities.workspace) == []
    same = {"expiry": "72h", "auto_rebuild_grace_period": "71h0m0s", "ocsp_expiry": "720m"}
    root.write_data(f"{authorities.services}/config/crl", data=same)
    assert plan_pki(authorities.workspace) == [], "the same durations in other words differ in nothing"


def test_one_line_moves_an_algorithm_and_what_was_signed_before_holds(authorities: Authorities) -> None:
    authorities.apply()
    before, (anchor,) = authorities.issue(), authorities.anchors()
    authorities.declare(services={"key": "p-256"})
    assert authorities.apply() == [
        f"new issuer {authorities.services}/keyturn-2",
        f"put in force {authorities.services}/keyturn-2",
    ]
    assert authorities.apply() == []
    after, now = authorities.issue(), datetime.now(UTC)
    assert x509.belongs_to_key(after[0], after[2])
    assert not x509.chain_is_broken(*before[:2], anchor, now)
    assert not x509.chain_is_broken(*after[:2], anchor, now)
    engine = authorities.lab.hub.pki(authorities.services).look(())
    assert engine is not None
    assert [issuer.key for issuer in sorted(engine.issuers, key=lambda each: each.generation)] == ["p-384", "p-256"]


def test_a_new_root_waits_until_it_is_trusted_and_then_everything_below_follows(authorities: Authorities) -> None:
    authorities.apply()
    before, (old,) = authorities.issue(), authorities.anchors()
    authorities.declare(root={"key": "p-256"})
    assert authorities.apply() == [f"new issuer {authorities.root}/keyturn-2"]
    (waits,) = plan_pki(authorities.workspace)
    assert (waits.kind, waits.place) == (StepKind.WAIT, f"{authorities.root}/keyturn-2")
    assert authorities.apply() == []
    authorities.workspace = replace(authorities.workspace, hub_clock=lambda: datetime.now(UTC) + 31 * DAY)
    assert authorities.apply() == [
        f"put in force {authorities.root}/keyturn-2",
        f"new issuer {authorities.services}/keyturn-2",
        f"put in force {authorities.services}/keyturn-2",
    ]
    assert plan_pki(authorities.workspace) == []
    after, now = authorities.issue(), datetime.now(UTC)
    (new,) = (anchor for anchor in authorities.anchors() if anchor != old)
    assert not x509.chain_is_broken(*before[:2], old, now)
    assert not x509.chain_is_broken(*after[:2], new, now)
    assert x509.chain_is_broken(*after[:2], old, now)


def test_what_a_crash_left_is_finished_by_the_next_run(authorities: Authorities) -> None:
    """A key without a certificate, and a certificate that is not in force: the first is passed over."""
    authorities.apply()
    authorities.declare(services={"key": "p-256"})
    wanted = wanted_authorities(authorities.workspace.catalogue.pki)[1]
    engine = authorities.lab.hub.pki(authorities.services)
    engine.request("keyturn-2", wanted)
    request = engine.request("keyturn-3", wanted)
    engine.install("keyturn-3", authorities.lab.hub.pki(authorities.root).sign(request, wanted))
    assert authorities.apply() == [f"put in force {authorities.services}/keyturn-3"]
    assert authorities.apply() == []


def test_an_issuer_that_somebody_has_revoked_is_followed_by_another(authorities: Authorities) -> None:
    authorities.apply()
    authorities.lab.root.write_data(f"{authorities.services}/issuer/keyturn-1/revoke", data={})
    steps = plan_pki(authorities.workspace)
    assert [(step.kind, step.why) for step in steps] == [(StepKind.MAKE, "it was revoked")]
    assert authorities.apply() == [
        f"new issuer {authorities.services}/keyturn-2",
        f"put in force {authorities.services}/keyturn-2",
    ]
    assert authorities.apply() == []
    pem, chain, _ = authorities.issue()
    assert not x509.chain_is_broken(pem, chain, authorities.anchors()[0], datetime.now(UTC))


def test_a_kind_of_key_that_the_hub_lacks_is_named_by_the_plan_and_nothing_in_force_changes(
    authorities: Authorities,
) -> None:
    authorities.apply()
    roles = {"ml-services": ROLE, "mixed": {**ROLE, "key": "ml-dsa-44-ed25519"}}
    authorities.declare(services={"key": "ml-dsa-65-p-256", "roles": roles})
    steps = plan_pki(authorities.workspace)
    lacks = "the hub's engine has no {} keys, but ec, ed25519, mldsa, rsa"
    assert [(step.kind, step.place, step.why) for step in steps] == [
        (StepKind.BLOCKED, f"{authorities.services}/roles/mixed", lacks.format("ml-dsa-44-ed25519")),
        (StepKind.BLOCKED, authorities.services, lacks.format("ml-dsa-65-p-256")),
    ]
    assert authorities.apply() == []
    assert authorities.issue()


def test_authorities_and_certificates_move_to_ml_dsa_and_what_was_signed_before_holds(authorities: Authorities) -> None:
    """FIPS 204, of which OpenBao has what RFC 9881 says of certificates."""
    authorities.apply()
    before, (old,) = authorities.issue(), authorities.anchors()
    roles = {"ml-services": ROLE, "after": {**ROLE, "key": "ml-dsa-44"}}
    authorities.declare(services={"key": "ml-dsa-65", "roles": roles})
    assert f"put in force {authorities.services}/keyturn-2" in authorities.apply()
    assert authorities.apply() == []
    assert authority_statuses(authorities.workspace)[1].to_data()["key"] == "ml-dsa-65"
    keys, now = CryptographyKeys(), datetime.now(UTC)
    role = authorities.lab.hub.authority(authorities.services, "after")
    key = keys.private_key(CertificateKey.ML_DSA_44)
    issued = role.sign(key, NAMES, DAY)
    assert role.examine(issued.pem, issued.chain, key, now) == issued.certificate
    assert role.allows().takes("ml-dsa-44")
    assert not role.allows().takes("ml-dsa-65")
    assert not x509.chain_is_broken(*before[:2], old, now)
    with pytest.raises(Invalid, match="makes no ml-dsa-44-p-256 keys"):
        keys.private_key(CertificateKey.ML_DSA_44_P_256)


# --- where they stand, told to anybody ----------------------------------------------------------------------


@pytest.fixture
def stranger(authorities: Authorities, tmp_path: Path) -> Iterator[Workspace]:
    """A workspace whose login has no right at all in the hub."""
    token = authorities.lab.root.auth.token.create(policies=["default"])["auth"]["client_token"]
    (tmp_path / "stranger").write_text(token)
    settings = HubSettings(authorities.lab.world.hub_address, login=TokenLogin(file=str(tmp_path / "stranger")))
    with closing(VaultHub(settings)) as hub:
        yield replace(authorities.workspace, hub=hub)


def later(workspace: Workspace, days: float) -> Workspace:
    """The same once so many days are over, by the hub's clock."""
    return replace(workspace, hub_clock=lambda: datetime.now(UTC) + days * DAY)


def standings(workspace: Workspace) -> list[str]:
    """Where the root and the intermediate stand."""
    return [str(status.standing) for status in authority_statuses(workspace)]


def test_without_any_right_it_is_told_when_each_authority_is_followed_and_what_is_late(
    authorities: Authorities, stranger: Workspace
) -> None:
    """A root of ten years, an intermediate of one that signs for 47 days: due when a third of its life is left."""
    assert standings(stranger) == ["no issuer"] * 2
    authorities.apply()
    now = datetime.now(UTC)
    root, services = authority_statuses(stranger)
    assert (root.standing, services.standing) == (AuthorityStanding.IN_FORCE, AuthorityStanding.IN_FORCE)
    assert services.issuer is not None
    assert services.issuer.key_name == "keyturn-1"
    assert services.due_at is not None
    assert abs(services.due_at - now - 365 * DAY * 2 / 3) < DAY / 10
    expected = {240: "in force", 244: "due", 246: "late", 364: "late", 366: "ended"}
    assert {days: standings(later(stranger, days))[1] for days in expected} == expected
    assert "it ends" in authority_statuses(later(stranger, 246))[1].alarm


@pytest.mark.attack
def test_a_run_renews_due_authorities_and_fails_if_overdue_without_the_right(
    authorities: Authorities, stranger: Workspace
) -> None:
    authorities.apply()
    assert due_authorities(later(stranger, 240)) == []
    assert due_authorities(later(stranger, 244)) == ["services"]
    turn = renew_authority(later(stranger, 244), "services")
    assert turn.blocked
    assert "this login may not renew it. Run `keyturn pki apply`" in turn.did
    with pytest.raises(Denied, match=r"keyturn pki apply.*the one of this run may not"):
        renew_authority(later(stranger, 247), "services")
    authorities.declare(services={"ttl": "730d"})
    turn = renew_authority(later(authorities.workspace, 244), "services")
    assert turn.changed
    assert f"put in force: {authorities.services}/keyturn-2" in turn.did
    assert standings(stranger)[1] == "in force"
    with pytest.raises(NotFound, match="Did you mean services"):
        due_authorities(stranger, "service")


def test_a_root_that_waits_is_told_and_one_that_nobody_puts_in_force_is_late(
    authorities: Authorities, stranger: Workspace
) -> None:
    authorities.apply()
    changed = authorities.declare(root={"key": "p-256"})
    stranger = replace(stranger, catalogue=changed.catalogue)
    assert standings(stranger)[0] == "due"
    authorities.apply()
    assert due_authorities(stranger) == []
    root = authority_statuses(stranger)[0]
    assert root.standing is AuthorityStanding.WAITING
    assert "bring it to all who trust the root before it" in root.why
    assert [standings(later(stranger, days))[0] for days in (29, 31, 33)] == ["its successor waits", "due", "late"]


@pytest.mark.attack
def test_the_rendered_policy_is_enough_for_all_of_it(authorities: Authorities, tmp_path: Path) -> None:
    catalogue, name = authorities.workspace.catalogue, f"pki-{secrets.token_hex(4)}"
    rules = policies.sections(scope_of(catalogue, HubPlaces()), policies.PKI)
    authorities.lab.root.sys.create_or_update_policy(name, policy(rules))
    token = authorities.lab.root.auth.token.create(policies=[name], no_default_policy=True)["auth"]["client_token"]
    (tmp_path / "token").write_text(token)
    settings = HubSettings(authorities.lab.world.hub_address, login=TokenLogin(file=str(tmp_path / "token")))
    with closing(VaultHub(settings)) as hub:
        authorities.workspace = replace(authorities.workspace, hub=hub)
        assert authorities.apply()
        authorities.declare(services={"key": "p-256"})
        assert f"put in force {authorities.services}/keyturn-2" in authorities.apply()
        with pytest.raises(Denied):
            hub.pki("pki").look(())
        with pytest.raises(Denied):
            hub.read("anything")


def test_whoever_follows_the_addresses_in_a_certificate_finds_issuer_list_and_answer(authorities: Authorities) -> None:
    """Also of one that was signed by the issuer before the one in force."""
    authorities.declare(services={"address": authorities.lab.world.hub_address})
    authorities.apply()
    pem, chain, _ = authorities.issue()
    authorities.declare(services={"address": authorities.lab.world.hub_address, "key": "p-256"})
    authorities.apply()
    certificate, issuer = (lib.load_pem_x509_certificates(text.encode())[0] for text in (pem, chain))
    access = certificate.extensions.get_extension_for_class(lib.AuthorityInformationAccess).value
    places = {each.access_method: each.access_location.value for each in access}
    (point,) = certificate.extensions.get_extension_for_class(lib.CRLDistributionPoints).value
    assert point.full_name is not None
    issued_by = lib.load_der_x509_certificate(fetched(places[AuthorityInformationAccessOID.CA_ISSUERS]))
    assert issued_by == issuer
    question = (
        ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, SHA256()).build().public_bytes(Encoding.DER)
    )
    where = places[AuthorityInformationAccessOID.OCSP]
    assert ocsp.load_der_ocsp_response(fetched(where, question)).certificate_status is ocsp.OCSPCertStatus.GOOD
    serial = x509.describe_certificate(pem).serial
    authorities.lab.hub.authority(authorities.services, "ml-services").revoke(serial)
    revoked = ocsp.load_der_ocsp_response(fetched(where, question))
    assert revoked.certificate_status is ocsp.OCSPCertStatus.REVOKED
    authorities.lab.root.read(f"{authorities.services}/crl/rotate")
    listed = lib.load_der_x509_crl(fetched(point.full_name[0].value))
    signer = issuer.public_key()
    assert isinstance(signer, ec.EllipticCurvePublicKey)
    assert listed.is_signature_valid(signer)
    assert listed.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None


def test_what_clients_are_told_of_a_certificate_is_asked_of_the_issuer_that_has_signed_it(
    authorities: Authorities,
) -> None:
    """By OCSP, and where that is off by the list."""
    authorities.apply()
    pem, _, _ = authorities.issue()
    serial = x509.describe_certificate(pem).serial
    authorities.declare(services={"key": "p-256"})
    authorities.apply()
    role = authorities.lab.hub.authority(authorities.services, "ml-services")
    assert role.published(serial) == Publication(revoked=False, by=OCSP)
    role.revoke(serial)
    assert role.published(serial) == Publication(revoked=True, by=OCSP)
    authorities.declare(services={"key": "p-256", "revocation": {"ocsp": False}})
    authorities.apply()
    assert role.published(serial) == Publication(revoked=False, by=REVOCATION_LIST)
    authorities.lab.root.read(f"{authorities.services}/crl/rotate")
    assert role.published(serial) == Publication(revoked=True, by=REVOCATION_LIST)
    assert role.published("0a:0b") is None


def test_what_an_ml_dsa_issuer_has_signed_is_told_by_its_list_alone(authorities: Authorities) -> None:
    """What OpenBao 2.7 does; once its OCSP responder answers, the guide can say so."""
    authorities.apply()
    before = x509.describe_certificate(authorities.issue()[0]).serial
    authorities.declare(services={"key": "ml-dsa-44"})
    authorities.apply()
    serial = x509.describe_certificate(authorities.issue()[0]).serial
    role = authorities.lab.hub.authority(authorities.services, "ml-services")
    assert role.published(serial) == Publication(revoked=False, by=REVOCATION_LIST)
    assert role.published(before) == Publication(revoked=False, by=OCSP)
    role.revoke(serial)
    authorities.lab.root.read(f"{authorities.services}/crl/rotate")
    assert role.published(serial) == Publication(revoked=True, by=REVOCATION_LIST)


def fetched(address: str, question: bytes | None = None) -> bytes:
    """What anybody gets there."""
    if question is None:
        answer = requests.get(address, timeout=10)
    else:
        headers = {"Content-Type": "application/ocsp-request"}
        answer = requests.post(address, question, headers=headers, timeout=10)
    answer.raise_for_status()
    return answer.content
