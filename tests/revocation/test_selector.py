"""Selectors choose secrets, also by a found value or fingerprint."""

import pytest

from keyturn.core.errors import Invalid, NotFound
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.revocation.incidents.incident import Mode
from keyturn.revocation.preview import preview_revocation
from keyturn.revocation.selector import Selection, Selector, select_secrets
from keyturn.revocation.whois import Match, whois, whois_value
from keyturn.rotation.copies.push import sync_destinations
from tests.revocation.site import Site
from tests.support.lab import Lab


@pytest.fixture(scope="module")
def site(lab: Lab) -> Site:
    """Two secrets of different owners in one catalogue; the first has a copy."""
    first, second, third = lab.alternating(), lab.generated(), lab.dynamic()
    first = first.having(
        owner="a@example.com", classification="restricted", destinations=[{"store": "memory", "name": first.path}]
    )
    second = second.having(owner="b@example.com", classification="internal")
    third = third.having(owner="b@example.com", classification="restricted")
    opened = lab.open(first, second, third)
    sync_destinations(opened.workspace, first.path)
    made = Site(lab, first, opened)
    made.others = (second, third)
    return made


def chosen(site: Site, **by: object) -> tuple[str, ...]:
    return select_secrets(site.workspace, Selector(**by)).paths  # type: ignore[arg-type]


def test_by_path_and_by_pattern(site: Site) -> None:
    everyone = tuple(sorted((site.secret.path, *(one.path for one in site.others))))
    assert chosen(site, paths=(site.secret.path,)) == (site.secret.path,)
    assert chosen(site, paths=("tests/*",)) == everyone
    assert chosen(site, paths=(site.secret.path, "tests/*")) == everyone


def test_by_owner_classification_target_and_store_all_of_which_must_fit(site: Site) -> None:
    second, third = site.others
    assert set(chosen(site, owner="b@example.com")) == {second.path, third.path}
    assert set(chosen(site, classification="restricted")) == {site.secret.path, third.path}
    assert chosen(site, owner="b@example.com", classification="restricted") == (third.path,)
    assert set(chosen(site, target="pg")) == {site.secret.path, third.path}
    assert chosen(site, store="memory") == (site.secret.path,)


@pytest.mark.parametrize(
    "prefix",
    [
        "auth/",
        "auth/approle/login",
        "/auth/token",
        "//auth//token",
        "AUTH/token",
        " auth/token",
        "sys/",
        "sys/leases/lookup",
        "Sys",
        "database/../auth/token",
        "./auth/token",
        "database/..",
        "%61uth/token",
        "database/%2e%2e/auth",
        "auth\\token",
        "database/creds?list=true",
        "database/creds#a",
        "database/creds/a\nb",
        "/",
        "//",
        " ",
        "..",
    ],
)
def test_a_lease_prefix_that_is_not_plainly_below_an_engine_is_refused(site: Site, prefix: str) -> None:
    token = site.lab.root.auth.token.create(ttl="1h", policies=["default"])["auth"]["client_token"]
    with pytest.raises(Invalid, match="find leases below"):
        select_secrets(site.workspace, Selector(lease_prefix=prefix))
    assert site.lab.root.auth.token.lookup(token)


def test_a_lease_prefix_may_have_slashes_around_it(site: Site) -> None:
    third = site.others[1]
    prefix = third.first["lease_id"].rpartition("/")[0]
    for given in (f"/{prefix}/", prefix.replace("/", "//"), f" {prefix} "):
        assert select_secrets(site.workspace, Selector(lease_prefix=given)).leases == (third.first["lease_id"],)


def test_nothing_chosen_and_nothing_that_fits_are_errors(site: Site) -> None:
    with pytest.raises(Invalid):
        select_secrets(site.workspace, Selector())
    with pytest.raises(NotFound):
        select_secrets(site.workspace, Selector(owner="nobody@example.com"))
    with pytest.raises(NotFound):
        select_secrets(site.workspace, Selector(paths=("nowhere/*",)))
    with pytest.raises(NotFound):
        select_secrets(site.workspace, Selector(paths=("tests/absent",)))


def test_by_a_prefix_of_leases_with_the_secret_that_holds_one(site: Site) -> None:
    third = site.others[1]
    prefix = third.first["lease_id"].rpartition("/")[0]
    found = select_secrets(site.workspace, Selector(lease_prefix=prefix))
    assert found == Selection((third.path,), (third.first["lease_id"],))


def test_by_the_fingerprint_that_people_are_shown(site: Site) -> None:
    digest = site.workspace.fingerprint(site.secret.path, SecretFields(site.secret.first))
    assert chosen(site, fingerprint=digest[:12]) == (site.secret.path,)
    # The copy of a whole secret has the same text, and so the same fingerprint.
    wanted = [Match(site.secret.path, 1), Match(site.secret.path, 1, f"memory:{site.secret.path}")]
    assert whois(site.workspace, digest) == wanted
    assert whois(site.workspace, digest.upper()[:8]) == wanted


@pytest.mark.parametrize("wrong", ["", "1234567", "0123456x", "0" * 65])
def test_what_is_no_fingerprint_is_refused(site: Site, wrong: str) -> None:
    with pytest.raises(Invalid):
        whois(site.workspace, wrong)


def test_by_a_value_that_was_found_somewhere(site: Site) -> None:
    password = Sensitive(site.secret.first["password"])
    assert whois_value(site.workspace, password) == [Match(site.secret.path, 1)]
    copy = site.store.read(site.secret.path)
    assert Match(site.secret.path, 1, f"memory:{site.secret.path}") in whois_value(site.workspace, copy)
    assert whois_value(site.workspace, Sensitive("nobody's")) == []


def test_a_preview_names_what_ends_and_who_is_cut_off_and_changes_nothing(site: Site, lab: Lab) -> None:
    before = site.record()
    with lab.opened(SecretFields(site.secret.first)) as works:
        seen = preview_revocation(
            site.workspace, select_secrets(site.workspace, Selector(paths=(site.secret.path,))), Mode.REVOKE_ONLY
        )
        assert works()
    (one,) = seen.secrets
    assert one.names == (f"username {site.secret.users[0]}",)
    assert one.destinations == (f"memory:{site.secret.path}",)
    assert any("1 open sessions" in said for said in one.uses)
    assert any("until a person rotates it" in said for said in one.warnings)
    assert site.record() == before
