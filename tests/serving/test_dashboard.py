"""The dashboard behind the hub's login: sessions, rights and foreign requests."""

import dataclasses
import json
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from keyturn.agent.http import BODY_BYTES
from keyturn.agent.sockets import open_loopback
from keyturn.catalogue import Catalogue, load_catalogue
from keyturn.cli.secrets.dashboard import board_of
from keyturn.core.errors import Unavailable
from keyturn.core.rights.hcl import policy
from keyturn.core.rights.rights import HubPlaces
from keyturn.pages.dashboard import Dashboard, Level, SecretLine
from keyturn.providers.vault.viewers import VaultViewers
from keyturn.rights.hub_policies import VIEWER, WORKER, sections
from keyturn.rights.scope import scope_of
from keyturn.serving.certificates import CertificateFiles
from keyturn.serving.dashboard_door import FORM_BYTES, DashboardDoor
from keyturn.serving.endpoint import Endpoint, answering
from keyturn.serving.numbers.process import SIGN_INS, Counts, Serving
from keyturn.serving.sessions import IDLE, LONGEST, SPAN, TRIES
from keyturn.serving.shared_checks import FRESH
from local.support.ports import free_port
from local.support.tls import Certificate, certificate_in
from tests.cli.command import ROOT, surroundings
from tests.support.hooks import eventually
from tests.support.lab import Lab, fresh
from tests.support.sampling import deep

pytestmark = pytest.mark.sampled(3, of="file")

PATIENCE = 60


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate_in(tmp_path_factory.mktemp("tls"))


@dataclass
class Shown:
    """One page that is shown over TLS, by a clock that stands, and what was said of whoever came."""

    url: str
    authority: Path
    lines: list[str]
    counts: Counts
    now: float = 1_000.0
    looks: int = 0
    look: Callable[[], Dashboard] = field(default=lambda: pytest.fail("looked at"))

    def browser(self) -> requests.Session:
        """A browser that trusts it, and tells of each form where it was."""
        session = requests.Session()
        # The run's own authority would go before what is trusted here.
        session.verify, session.trust_env = str(self.authority), False
        session.headers["Origin"] = self.url
        return session

    def sign_in(
        self, token: str, browser: requests.Session | None = None, headers: dict[str, str] | None = None
    ) -> requests.Response:
        """Post the form, with these headers besides."""
        data = {"token": token}
        browser = browser or self.browser()
        return browser.post(f"{self.url}/sign-in", data=data, headers=headers, timeout=30, allow_redirects=False)

    def signed_in(self, token: str) -> requests.Session:
        browser = self.browser()
        assert self.sign_in(token, browser).status_code == 303
        return browser

    def page(self, browser: requests.Session) -> requests.Response:
        return browser.get(f"{self.url}/", timeout=60, allow_redirects=False)


@contextmanager
def showing(
    lab: Lab, certificate: Certificate, look: Callable[[], Dashboard], proxies: tuple[str, ...] = ()
) -> Iterator[Shown]:
    counts, lines = Counts(), list[str]()
    with ExitStack() as stack:
        listener = stack.enter_context(open_loopback(0))
        port = listener.getsockname()[1]
        shown = Shown(f"https://127.0.0.1:{port}", certificate.authority, lines, counts, look=look)

        def looked() -> Dashboard:
            shown.looks += 1
            return shown.look()

        viewers = VaultViewers(lab.hub.settings)
        stack.callback(viewers.close)
        door = DashboardDoor(
            viewers, looked, lines.append, counts, port=port, tls=True, proxies=proxies, clock=lambda: shown.now
        )
        stack.callback(door.close)
        files = CertificateFiles(certificate.certificate, certificate.key, lines.append)
        stack.enter_context(answering(listener, Endpoint(Serving(), dashboard=door.answer).answer, files.context))
        yield shown


@pytest.fixture
def shown(lab: Lab, certificate: Certificate) -> Iterator[Shown]:
    """A page of one secret."""
    line = SecretLine("tests/well", "ana", "internal", "generated", Level.WELL, ["version 3"])
    with showing(lab, certificate, lambda: Dashboard(lab.hub.now(), "hub", "default", [line])) as shown:
        yield shown


def viewers_token(lab: Lab, mount: str = "keyturn", **more: object) -> str:
    """A login with the policy that is rendered for viewers, and nothing else."""
    rules = policy(sections(scope_of(Catalogue(), HubPlaces(state_mount=mount)), VIEWER))
    return token_with(lab, rules, **more)


def token_with(lab: Lab, rules: str, **more: object) -> str:
    name = f"dashboard-{fresh()}"
    lab.root.sys.create_or_update_policy(name, rules)
    made = lab.root.auth.token.create(policies=[name], no_default_policy=True, ttl="1h", **more)
    return str(made["auth"]["client_token"])


def test_whom_the_hub_lets_see_the_page_sees_it_and_nobody_keeps_the_token(lab: Lab, shown: Shown) -> None:
    token, browser = viewers_token(lab, display_name="ana"), shown.browser()
    opened = lab.open(lab.generated())
    shown.look = lambda: board_of(opened.workspace)
    assert shown.page(browser).headers["location"] == "/sign-in"
    form = browser.get(f"{shown.url}/sign-in", timeout=30)
    assert 'name="token" type="password"' in form.text
    answer = shown.sign_in(token, browser)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert re.fullmatch(r"__Host-keyturn-\d+=[\w-]{43}; Path=/; HttpOnly; SameSite=Strict; Secure", cookie)
    page = shown.page(browser)
    assert page.status_code == 200
    assert all(path in page.text.replace("<wbr>", "") for path in opened.workspace.catalogue.secrets)
    assert token not in page.text + cookie + "".join(shown.lines)
    assert shown.lines == ["dashboard: token-ana signed in from 127.0.0.1"]
    assert shown.counts.of(SIGN_INS) == {"admitted": 1}


@pytest.mark.attack
def test_a_browser_runs_and_loads_nothing_else_and_no_page_frames_it(lab: Lab, shown: Shown) -> None:
    browser = shown.signed_in(viewers_token(lab))
    for answer in (shown.page(browser), browser.get(f"{shown.url}/sign-in", timeout=30)):
        policy_sent = answer.headers["content-security-policy"]
        assert "unsafe" not in policy_sent
        assert "default-src 'none'" in policy_sent
        assert "frame-ancestors 'none'" in policy_sent
        assert "form-action 'self'" in policy_sent
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        # A browser that names no page to others would not say of the form where it was either.
        assert answer.headers["referrer-policy"] == "same-origin"
        assert '<meta http-equiv="Content-Security-Policy"' not in answer.text


@pytest.mark.attack
def test_an_unknown_token_and_one_without_the_right_get_the_same_answer(lab: Lab, shown: Shown) -> None:
    own = 'path "auth/token/lookup-self" { capabilities = ["read"] }'
    unknown = shown.sign_in(f"s.{secrets.token_urlsafe(24)}")
    rightless = shown.sign_in(token_with(lab, own))
    assert (unknown.status_code, rightless.status_code) == (403, 403)
    assert unknown.text == rightless.text
    assert "lacks the policy" in unknown.text
    assert not {"set-cookie"} & {*unknown.headers, *rightless.headers}
    assert shown.looks == 0
    assert shown.counts.of(SIGN_INS) == {"refused": 2}


@pytest.mark.attack
def test_a_session_ends_when_idle_expired_or_revoked(lab: Lab, shown: Shown) -> None:
    token = viewers_token(lab)
    idle, long = shown.signed_in(token), shown.signed_in(token)
    shown.now += IDLE - 1
    assert shown.page(long).status_code == 200
    shown.now += 1
    assert shown.page(idle).headers["location"] == "/sign-in"
    for _ in range(int(LONGEST / (IDLE - 1))):
        assert shown.page(long).status_code in (200, 303)
        shown.now += IDLE - 1
    assert shown.page(long).headers["location"] == "/sign-in"
    revoked = shown.signed_in(token)
    assert shown.page(revoked).status_code == 200
    lab.root.auth.token.revoke(token)
    gone = shown.page(revoked)
    assert gone.status_code == 403
    assert "no longer allows your token" in gone.text
    assert shown.page(revoked).status_code == 303
    assert shown.lines[-1] == "dashboard: token-token may not see it any more"


def test_signing_out_ends_the_session_itself_and_another_sign_in_the_one_before(lab: Lab, shown: Shown) -> None:
    token = viewers_token(lab)
    browser = shown.signed_in(token)
    kept = shown.browser()
    kept.cookies.update(browser.cookies)
    answer = browser.post(f"{shown.url}/sign-out", timeout=30, allow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert shown.page(kept).status_code == 303
    again = shown.signed_in(token)
    kept.cookies.clear()
    kept.cookies.update(again.cookies)
    assert shown.sign_in(token, again).status_code == 303
    assert shown.page(kept).status_code == 303
    assert shown.page(again).status_code == 200


@pytest.mark.attack
def test_a_form_of_another_page_is_not_taken(lab: Lab, shown: Shown) -> None:
    token = viewers_token(lab)
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": shown.url.replace("https", "http")},
        {"Origin": shown.url, "Sec-Fetch-Site": "cross-site"},
        {"Origin": ""},
    ):
        assert shown.sign_in(token, headers=headers).status_code == 403
    rebound = {"Host": "evil.example", "Origin": "https://evil.example"}
    assert shown.sign_in(token, headers=rebound).status_code == 421
    browser = shown.signed_in(token)
    foreign = browser.post(f"{shown.url}/sign-out", headers={"Origin": "https://evil.example"}, timeout=30)
    assert foreign.status_code == 403
    assert shown.page(browser).status_code == 200


def test_what_is_no_form_with_one_token_is_not_taken(shown: Shown) -> None:
    browser, url = shown.browser(), f"{shown.url}/sign-in"

    def post(data: object, kind: str = "application/x-www-form-urlencoded") -> int:
        shown.now += SPAN
        headers = {"Content-Type": kind}
        return browser.post(url, data=data, headers=headers, timeout=30).status_code  # type: ignore[arg-type]

    assert post("token=a&token=b") == 400
    assert post("token=a%0ab") == 400
    assert post("token=%ff") == 400
    assert post("&".join(f"{n}=1" for n in range(20))) == 400
    assert post("") == 400
    assert post('{"token": "a"}', "application/json") == 400
    assert post("token=" + "a" * FORM_BYTES) == 413
    assert post("token=" + "a" * BODY_BYTES) == 413
    assert shown.looks == 0


def test_nothing_but_looking_signing_in_and_out_is_answered(lab: Lab, shown: Shown) -> None:
    browser = shown.signed_in(viewers_token(lab))
    for path, allowed in (("/", "GET, HEAD"), ("/sign-in", "GET, HEAD, POST"), ("/sign-out", "POST")):
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - {*allowed.split(", ")}:
            answer = browser.request(method, f"{shown.url}{path}", timeout=30)
            assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert browser.get(f"{shown.url}/healthz", timeout=30).text == "ok\n"
    assert browser.get(f"{shown.url}/secrets", timeout=30).status_code == 404


@pytest.mark.attack
def test_an_address_that_was_refused_often_waits_and_the_hub_is_not_asked(lab: Lab, shown: Shown) -> None:
    wrong = f"s.{secrets.token_urlsafe(24)}"
    with ThreadPoolExecutor(TRIES * 2) as pool:
        statuses = list(pool.map(lambda _: shown.sign_in(wrong).status_code, range(TRIES * 2)))
    assert sorted(statuses) == [403] * TRIES + [429] * TRIES
    late = shown.sign_in(viewers_token(lab))
    assert (late.status_code, late.headers["retry-after"]) == (429, str(int(SPAN)))
    shown.now += SPAN
    assert shown.page(shown.signed_in(viewers_token(lab))).status_code == 200


@pytest.mark.attack
def test_a_forged_address_header_gives_no_more_attempts(shown: Shown) -> None:
    wrong = f"s.{secrets.token_urlsafe(24)}"
    tries = [shown.sign_in(wrong, headers={"X-Forwarded-For": f"192.0.2.{n}"}).status_code for n in range(TRIES + 1)]
    assert tries == [403] * TRIES + [429]


@pytest.mark.attack
def test_behind_a_listed_proxy_each_client_has_its_own_attempts(lab: Lab, certificate: Certificate) -> None:
    wrong, token = f"s.{secrets.token_urlsafe(24)}", viewers_token(lab)
    with showing(lab, certificate, lambda: pytest.fail("looked at"), proxies=("127.0.0.0/8",)) as shown:

        def status(given: str, forwarded: str) -> int:
            return shown.sign_in(given, headers={"X-Forwarded-For": forwarded}).status_code

        tries = [status(wrong, f"192.0.2.{n}, 198.51.100.1") for n in range(TRIES + 1)]
        assert tries == [403] * TRIES + [429], "what a client claims itself stands before its own address"
        assert status(token, "198.51.100.1") == 429
        assert status(token, "198.51.100.2") == 303
        assert shown.lines[-1].endswith("signed in from 198.51.100.2")


@pytest.mark.attack
def test_concurrent_viewers_share_one_query(lab: Lab, shown: Shown) -> None:
    browsers = [shown.signed_in(viewers_token(lab)) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        assert [answer.status_code for answer in pool.map(shown.page, browsers)] == [200] * 3
    assert shown.looks == 1
    shown.now += FRESH
    assert shown.page(browsers[0]).status_code == 200
    assert shown.looks == 2


@pytest.mark.attack
def test_unchecked_areas_are_shown_as_unknown(lab: Lab, shown: Shown) -> None:
    browser = shown.signed_in(viewers_token(lab))

    def fails() -> Dashboard:
        raise Unavailable("list", "secrets", "the hub <does> not answer", "Check it")

    before, shown.look = shown.look, fails
    answer = shown.page(browser)
    assert answer.status_code == 503
    assert "Nothing could be looked at" in answer.text
    assert "the hub &lt;does&gt; not answer" in answer.text
    assert "The state of every secret is unknown" in answer.text
    shown.now += FRESH
    shown.look = before
    assert shown.page(browser).status_code == 200


def test_while_the_hub_does_not_answer_nobody_is_let_in_and_nobody_is_sent_away(
    lab: Lab, certificate: Certificate
) -> None:
    class Deaf:
        def admit(self, token: object) -> object:
            raise Unavailable("see", "the page", "the hub does not answer", "Try again")

    with showing(lab, certificate, lambda: pytest.fail("looked at")) as shown:
        browser = shown.signed_in(viewers_token(lab))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(VaultViewers, "admit", Deaf.admit)
            answer = shown.page(browser)
            assert (answer.status_code, "does not answer" in answer.text) == (503, True)
            assert shown.sign_in("s.any").status_code == 503
        shown.look = lambda: Dashboard(lab.hub.now(), "hub", "default", [])
        assert shown.page(browser).status_code == 200


def test_a_token_that_is_bound_to_other_addresses_is_refused(lab: Lab, shown: Shown) -> None:
    class Elsewhere:
        @staticmethod
        def admit(viewers: VaultViewers, token: object) -> object:
            return dataclasses.replace(before(viewers, token), networks=("10.0.0.0/8",))  # type: ignore[arg-type,type-var]

    before = VaultViewers.admit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VaultViewers, "admit", Elsewhere.admit)
        assert shown.sign_in(viewers_token(lab)).status_code == 403


@contextmanager
def serve(
    env: dict[str, str], directory: Path, certificate: Certificate, *options: str
) -> Iterator[tuple[Shown, Path]]:
    """`keyturn serve` in a process of its own, over TLS."""
    port, lines = free_port(), directory / f"serve-{fresh()}.txt"
    pair = (f"--cert={certificate.certificate}", f"--key={certificate.key}")
    command = [sys.executable, "-m", "keyturn.cli", "serve", f"--listen=127.0.0.1:{port}", *pair, *options]
    with lines.open("wb") as out:
        child = subprocess.Popen(command, stdout=out, stderr=out, env=env, cwd=ROOT)
    try:
        eventually(lambda: "ready: " in lines.read_text() or child.poll() is not None, PATIENCE)
        assert child.poll() is None, lines.read_text()
        yield Shown(f"https://127.0.0.1:{port}", certificate.authority, [], Counts()), lines
        child.send_signal(signal.SIGTERM)
        assert child.wait(PATIENCE) == 0, lines.read_text()
    finally:
        child.kill()
        child.wait()


@pytest.mark.attack
def test_two_serve_processes_each_show_the_page_to_their_own_sessions(
    lab: Lab, certificate: Certificate, tmp_path: Path
) -> None:
    made, mount, catalogue = lab.generated(), f"state-{fresh()[-8:]}", tmp_path / "catalogue"
    catalogue.mkdir()
    (catalogue / "all.json").write_text(json.dumps({"secrets": {made.path: made.data}}))
    (catalogue / "all.json").rename(catalogue / "all.yaml")
    lab.root.sys.enable_secrets_engine("kv", mount, options={"version": "2"})
    scope = scope_of(load_catalogue(catalogue, {}), HubPlaces(state_mount=mount))
    env = surroundings(
        tmp_path / "no-stack",
        VAULT_ADDR=lab.world.hub_address,
        VAULT_TOKEN=token_with(lab, policy(sections(scope, WORKER))),
        VAULT_CACERT=lab.world.hub_ca or "",
        KEYTURN_CATALOGUE=str(catalogue),
        KEYTURN_HUB_STATE_MOUNT=mount,
        KEYTURN_LEDGER=str(tmp_path / "ledger.db"),
        KEYTURN_TRAIL=str(tmp_path / "trail"),
    )
    token = viewers_token(lab, mount, display_name="ana")
    only = "--only=follow"
    with serve(env, tmp_path, certificate, only) as (one, lines), serve(env, tmp_path, certificate, only) as (other, _):
        browser = one.signed_in(token)
        page = one.page(browser)
        assert page.status_code == 200, page.text
        assert made.path in page.text.replace("<wbr>", "")
        assert not [value for value in made.first.values() if len(str(value)) > 8 and str(value) in page.text]
        assert "denies" not in page.text
        # A browser sends a host's cookies to all of its ports.
        assert other.page(browser).status_code == 303
        assert other.sign_in(token, browser, {"Origin": other.url}).status_code == 303
        assert (one.page(browser).status_code, other.page(browser).status_code) == (200, 200)
        said = lines.read_text()
    assert "dashboard: token-ana signed in from 127.0.0.1" in said
    assert token not in said
    if deep():
        with serve(env, tmp_path, certificate, only, "--no-dashboard") as (none, lines):
            assert none.page(none.browser()).status_code == 404
            assert "page of everything" not in lines.read_text()
    kept = [file for file in tmp_path.rglob("*") if file.is_file() and token.encode() in file.read_bytes()]
    assert kept == []
    lab.root.sys.disable_secrets_engine(mount)
