"""``keyturn fade``: which static keys a workload identity can replace, the steps, and the end of a key with proof."""

import base64
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from keyturn.catalogue.recipes import IdentityLibrary, Library
from keyturn.catalogue.recipes.expand import check_recipe
from keyturn.cli.app import app
from keyturn.cli.secrets.fade import CLAIMS, steps_of
from keyturn.core.text import templates
from keyturn.strategies.registry import STRATEGIES
from tests.access_log.trail.events import access, write
from tests.support.lab import Declared, Lab, catalogue_data
from tests.support.upstream import Service, says, service
from tests.support.world import REGION, World

runner = CliRunner()
NOW = datetime.now(UTC)
SUBJECT = "system:serviceaccount:ml:trainer"


def token(**claims: Any) -> str:
    """A token with these claims, whose signature no one checks here."""
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{payload}.c2ln"


IDENTITY = {
    "title": "Example identity",
    "category": "identity",
    "replaces": ["alternating-users"],
    "parameters": {"url": {"about": "The address.", "example": "https://tokens.example.com"}},
    "identity": {"exchange": {"url": "{{url}}/token", "form": {"assertion": "{{identity}}"}}},
    "audience": "https://service.example.com",
    "trust": ["Trust {{subject}} of {{issuer}} for {{audience}}."],
    "lives": "an hour",
    "sources": [{"document": "none", "checked": NOW.date(), "seen": "memory"}],
}


@pytest.fixture
def upstream() -> Iterator[Service]:
    body = b'{"access_token": "short-lived", "expires_in": 600}'
    with service(token=says(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))) as made:
        yield made


@pytest.fixture
def catalogue(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("VAULT_", "PREFECT_", "KEYTURN_HUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "no-stack"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("VAULT_ADDR", world.hub_address)
    monkeypatch.setenv("VAULT_TOKEN", world.hub_token)
    monkeypatch.setenv("KEYTURN_TRAIL", str(tmp_path / "trail"))
    directory = tmp_path / "catalogue"
    directory.mkdir()
    monkeypatch.setenv("KEYTURN_CATALOGUE", str(directory))
    (tmp_path / "policy.yaml").write_text(f"files: [{tmp_path / 'workload'}]\n")
    monkeypatch.setenv("KEYTURN_POLICY", str(tmp_path / "policy.yaml"))
    (directory / "example.identity.recipe.yaml").write_text(yaml.safe_dump(IDENTITY))
    return directory


def declare(directory: Path, world: World, secret: Declared, upstream: Service | None = None) -> None:
    """Declare the secret; with a service, a route with an identity that replaces it, too."""
    data = catalogue_data(world, (secret,), {"kind": "aws-secrets-manager", "region": REGION}, {})
    for entry in data["secrets"].values():
        del entry["path"]
    del data["stores"]
    if upstream:
        file = directory.with_name("workload") / "token"
        file.parent.mkdir(exist_ok=True)
        file.write_text(token(iss="https://issuer.example.com", sub=SUBJECT))
        identity = {"recipe": "example", "parameters": {"url": upstream.url}, "token_file": str(file)}
        route = {"secret": secret.path, "identity": identity, "url": upstream.url, "callers": ["trainer"]}
        data["routes"] = {"db": {**route, "allow": [{"paths": ["/**"]}]}}
    (directory / "all.yaml").write_text(yaml.safe_dump(data))


def fade(*arguments: str, code: int = 0) -> Result:
    result = runner.invoke(app, ("fade", *arguments))
    assert result.exit_code == code, result.output
    return result


def read(directory: Path, path: str, days: float, first: float = 30) -> None:
    """A trail that begins ``first`` days ago, with a read of this secret ``days`` ago."""
    ago = [NOW - timedelta(days=past) for past in (first, days)]
    write(directory.with_name("trail"), 0, [access(ago[0], "other"), access(ago[1], path)])


@pytest.mark.parametrize("name", sorted(IdentityLibrary()))
def test_a_shipped_identity_is_complete(name: str) -> None:
    recipe, kinds = IdentityLibrary()[name], {*Library(), *STRATEGIES}
    check_recipe(name, recipe, Path(name))
    assert set(recipe.replaces) <= kinds
    texts = " ".join([*recipe.trust, recipe.audience])
    assert set(templates.names(texts)) <= {*recipe.parameters, *CLAIMS}
    assert "{{" not in " ".join(steps_of(recipe, {"issuer": "i", "subject": "s"}))


def test_no_kind_is_replaced_by_two_identities() -> None:
    kinds = [kind for recipe in IdentityLibrary().values() for kind in recipe.replaces]
    assert len(kinds) == len(set(kinds))


def test_static_keys_are_counted_and_their_state_is_shown(
    lab: Lab, world: World, catalogue: Path, upstream: Service
) -> None:
    secret = lab.alternating()
    declare(catalogue, world, secret)
    data = json.loads(fade("--json").stdout)
    assert data["static_keys_left"] == 1
    assert [(key["path"], key["identity"], key["routes"]) for key in data["secrets"]] == [(secret.path, "example", [])]
    assert "1 static keys left" in fade().stderr
    declare(catalogue, world, secret, upstream)
    assert "being replaced: route db" in fade().stdout
    assert "example" in fade("--kinds").stdout


def test_the_steps_name_the_workload_and_the_lines_of_the_catalogue(
    lab: Lab, world: World, catalogue: Path, tmp_path: Path
) -> None:
    secret = lab.alternating()
    declare(catalogue, world, secret)
    assert "Trust SUBJECT of ISSUER for https://service.example.com." in fade(secret.path).stdout
    file = tmp_path / "token"
    file.write_text(token(iss="https://issuer.example.com", sub=SUBJECT, aud=["mine"], exp=1))
    text = fade(secret.path, "--token-file", str(file)).stdout
    assert f"Trust {SUBJECT} of https://issuer.example.com for mine." in text
    lines = text[text.index("    routes:") :].partition("\n\n")[0]
    (route,) = yaml.safe_load(lines)["routes"].values()
    assert (route["secret"], route["identity"]["recipe"]) == (secret.path, "example")
    assert "not known: the service does not report when this kind of key was used" in text


@pytest.mark.parametrize("text", ["", "abc", "a.b.c", token(iss=1).replace(".", ""), "e30.bnVsbA.c2ln"])
def test_a_file_that_holds_no_token_is_named(
    lab: Lab, world: World, catalogue: Path, tmp_path: Path, text: str
) -> None:
    secret = lab.alternating()
    declare(catalogue, world, secret)
    file = tmp_path / "token"
    file.write_text(text)
    assert f"error: read {file}: " in fade(secret.path, "--token-file", str(file), code=1).stderr


def test_a_trial_gets_a_token_and_shows_nothing_of_it(
    lab: Lab, world: World, catalogue: Path, upstream: Service
) -> None:
    secret = lab.alternating()
    declare(catalogue, world, secret)
    assert "no route with an identity replaces" in fade(secret.path, "--try", code=1).stderr
    declare(catalogue, world, secret, upstream)
    result = fade(secret.path, "--try")
    assert "route db: the service gave a token" in result.stderr
    assert "short-lived" not in result.output
    assert upstream.requests[-1].body.startswith(b"assertion=e30.")
    upstream.answers["/token"] = says(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")
    refused = fade(secret.path, "--try", code=1).stderr
    assert "it refused the token with status 401" in refused
    assert "e30." not in refused


def test_a_key_ends_only_after_a_week_without_use(lab: Lab, world: World, catalogue: Path, upstream: Service) -> None:
    secret = lab.alternating()
    declare(catalogue, world, secret)
    assert "no route with an identity" in fade(secret.path, "--end", "--yes", code=1).stderr
    declare(catalogue, world, secret, upstream)
    assert "its use is not known" in fade(secret.path, "--end", "--yes", code=1).stderr
    read(catalogue, secret.path, days=3)
    used = fade(secret.path, "--end", "--yes", code=1).stderr
    assert "it was used within 7d: read " in used
    assert "--mode revoke-only" in used
    assert lab.logs_in(secret.first)
    fade(secret.path, "--end", "--yes", "--unused-for", "2d")
    assert not lab.logs_in(secret.first)
    (key,) = json.loads(fade("--json").stdout)["secrets"]
    assert key["ended_by"].startswith("INC-")
    assert json.loads(fade("--json").stdout)["static_keys_left"] == 0
    assert f"ended by {key['ended_by']}" in fade(secret.path, "--end", "--yes", code=1).stderr


def test_a_trail_that_began_later_says_nothing_of_the_time_before(
    lab: Lab, world: World, catalogue: Path, upstream: Service
) -> None:
    secret = lab.alternating()
    declare(catalogue, world, secret, upstream)
    write(catalogue.with_name("trail"), 0, [access(NOW - timedelta(days=3), "other")])
    assert "its use is not known" in fade(secret.path, "--end", "--yes", code=1).stderr
    assert lab.logs_in(secret.first)


def test_the_status_and_the_dashboard_count_shipped_kinds(world: World, catalogue: Path, tmp_path: Path) -> None:
    keys = {"owner": "ml@example.com", "classification": "confidential", "rotation": {"recipe": "anthropic-api-key"}}
    (catalogue / "all.yaml").write_text(yaml.safe_dump({"secrets": {"fade/anthropic": keys}}))
    hub = world.root()
    hub.secrets.kv.v2.create_or_update_secret("fade/anthropic", {"value": "sk-ant-example"})
    try:
        result = runner.invoke(app, ("status",))
        assert "1 static keys left that a workload identity can replace" in result.stderr
        assert json.loads(runner.invoke(app, ("status", "--json")).stdout)["static_keys_left"] == 1
        runner.invoke(app, ("dashboard", "--out", str(tmp_path / "page.html")))
        assert "static keys left" in (tmp_path / "page.html").read_text()
    finally:
        hub.secrets.kv.v2.delete_metadata_and_all_versions("fade/anthropic")


def test_other_kinds_and_other_usage_are_refused(lab: Lab, world: World, catalogue: Path) -> None:
    secret = lab.generated()
    declare(catalogue, world, secret)
    assert "no workload identity is known for generated" in fade(secret.path, code=1).stderr
    assert "are for one PATH" in fade("--end", code=2).stderr
    assert json.loads(fade("--json").stdout) == {"static_keys_left": 0, "secrets": []}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"recipe": "nowhere"}, "no recipe has this name"),
        ({"recipe": "aws"}, "only the service's own SDK can use this identity"),
        ({"parameters": {}}, "needs the parameter url"),
        ({"exchange": {"url": "https://elsewhere.example.com"}}, "the recipe example sets this"),
        ({"token_file": "/srv/other/token"}, "lists no directory under `files` that contains /srv/other/token"),
    ],
)
def test_a_wrong_identity_is_reported_with_its_line(
    lab: Lab, world: World, catalogue: Path, upstream: Service, changes: dict[str, Any], problem: str
) -> None:
    declare(catalogue, world, lab.alternating(), upstream)
    data = yaml.safe_load((catalogue / "all.yaml").read_text())
    data["routes"]["db"]["identity"] |= changes
    (catalogue / "all.yaml").write_text(yaml.safe_dump(data))
    assert problem in fade(code=1).stderr
