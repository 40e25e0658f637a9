"""Certificates of servers on loopback: whom they name, who trusts them, and when they are made anew."""

import socket
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.support.serving import server_context
from local.support.tls import Authority, Certificate, certificate_in

NOW = datetime.now(UTC)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "tls" / "ca.pem", tmp_path / "authority" / "ca.key")


def shakes_hands(files: Certificate, trusted: Path, name: str) -> bool:
    """Whether a client that is strict, and trusts this authority alone, takes the server for ``name``."""
    context = ssl.create_default_context(cafile=str(trusted))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server = threading.Thread(target=answer, args=(theirs, server_context(files.certificate, files.key)))
        server.start()
        try:
            context.wrap_socket(ours, server_hostname=name).close()
        except ssl.SSLCertVerificationError:
            return False
        finally:
            ours.close()
            server.join()
    return True


def answer(connection: socket.socket, context: ssl.SSLContext) -> None:
    try:
        context.wrap_socket(connection, server_side=True).close()
    except OSError:
        return  # the client does not trust it


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_a_server_is_trusted_by_every_name_of_loopback(authority: Authority, tmp_path: Path, name: str) -> None:
    assert authority.issue(tmp_path / "one")
    assert shakes_hands(authority.files_in(tmp_path / "one"), authority.certificate, name)


@pytest.mark.parametrize("name", ["example.com", "localhost.example.com", "127.0.0.2", "10.0.0.1"])
def test_it_speaks_for_no_other_host(authority: Authority, tmp_path: Path, name: str) -> None:
    authority.issue(tmp_path / "one")
    assert not shakes_hands(authority.files_in(tmp_path / "one"), authority.certificate, name)


def test_whoever_trusts_another_authority_does_not_trust_it(authority: Authority, tmp_path: Path) -> None:
    authority.issue(tmp_path / "one")
    other = certificate_in(tmp_path / "other")
    assert not shakes_hands(authority.files_in(tmp_path / "one"), other.authority, "localhost")


def test_keys_are_for_their_owner_alone_and_each_server_has_its_own(authority: Authority, tmp_path: Path) -> None:
    assert authority.issue(tmp_path / "one")
    assert authority.issue(tmp_path / "two")
    keys = [authority.key, *(authority.files_in(tmp_path / name).key for name in ("one", "two"))]
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
    assert len({key.read_bytes() for key in keys}) == 3


def test_what_is_good_stays_until_shortly_before_its_end(authority: Authority, tmp_path: Path) -> None:
    assert authority.issue(tmp_path / "one", NOW)
    before = authority.files_in(tmp_path / "one").certificate.read_bytes(), authority.certificate.read_bytes()
    assert not authority.issue(tmp_path / "one", NOW + timedelta(days=360))
    assert before == (authority.files_in(tmp_path / "one").certificate.read_bytes(), authority.certificate.read_bytes())
    assert authority.issue(tmp_path / "one", NOW + timedelta(days=370))
    assert before[1] == authority.certificate.read_bytes(), "whoever trusts the authority need not be told anew"


@pytest.mark.parametrize("days", [-5000, -2, 3400, 5000])
def test_an_authority_that_is_not_good_for_a_certificates_life_is_made_anew_with_all_that_it_has_signed(
    authority: Authority, tmp_path: Path, days: int
) -> None:
    authority.issue(tmp_path / "one", NOW)
    before = authority.certificate.read_bytes()
    assert authority.issue(tmp_path / "one", NOW + timedelta(days=days))
    assert authority.certificate.read_bytes() != before


@pytest.mark.parametrize("damage", ["certificate", "key", "authority"])
@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_what_is_lost_or_damaged_is_made_anew(
    authority: Authority, tmp_path: Path, damage: str, content: bytes | None
) -> None:
    authority.issue(tmp_path / "one")
    files = authority.files_in(tmp_path / "one")
    file: Path = getattr(files, damage)
    file.unlink() if content is None else file.write_bytes(content)
    assert authority.issue(tmp_path / "one")
    assert shakes_hands(files, authority.certificate, "localhost")


def test_a_key_that_is_not_the_certificates_is_made_anew_with_it(authority: Authority, tmp_path: Path) -> None:
    for name in ("one", "two"):
        authority.issue(tmp_path / name)
    one, two = authority.files_in(tmp_path / "one"), authority.files_in(tmp_path / "two")
    one.key.write_bytes(two.key.read_bytes())
    assert authority.issue(tmp_path / "one")
    assert shakes_hands(one, authority.certificate, "localhost")


def test_an_authority_of_containers_signs_for_their_names_and_for_no_other(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca.pem", tmp_path / "ca.key", frozenset({"openbao", "postgres"}))
    assert authority.issue(tmp_path / "hub", names={"openbao"})
    files = authority.files_in(tmp_path / "hub")
    assert shakes_hands(files, authority.certificate, "openbao")
    assert shakes_hands(files, authority.certificate, "localhost")
    assert not shakes_hands(files, authority.certificate, "postgres")
    assert not authority.issue(tmp_path / "hub", names={"openbao"})
    assert authority.issue(tmp_path / "other", names={"hub.example.com"})
    other = authority.files_in(tmp_path / "other")
    assert not shakes_hands(other, authority.certificate, "hub.example.com")


def test_a_service_that_is_new_gets_an_authority_that_may_sign_for_it(tmp_path: Path) -> None:
    before = Authority(tmp_path / "ca.pem", tmp_path / "ca.key", frozenset({"openbao"}))
    before.issue(tmp_path / "hub", names={"openbao"})
    old = before.certificate.read_bytes()
    after = Authority(before.certificate, before.key, frozenset({"openbao", "witness-1"}))
    assert after.issue(tmp_path / "witness", names={"witness-1"})
    assert after.certificate.read_bytes() != old
    assert shakes_hands(after.files_in(tmp_path / "witness"), after.certificate, "witness-1")
    # The hub's own is by the one before, and so is made anew as well.
    assert after.issue(tmp_path / "hub", names={"openbao"})
    assert shakes_hands(after.files_in(tmp_path / "hub"), after.certificate, "openbao")
