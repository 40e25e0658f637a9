"""``keyturn unused``: secrets that only Keyturn has read for a long time."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from keyturn.cli.app import app
from keyturn.cli.environment import opened_workspace
from keyturn.cli.readers.unused import UnusedSecret, find_unused
from keyturn.rights.acl import parse_policy, policy_allows
from tests.access_log.hub import Hub
from tests.access_log.trail.events import access, write
from tests.manual.lines import lines_of

CATALOGUE = """
stores:
  aws: {kind: aws-secrets-manager, region: eu-central-1}
secrets:
  ml/database:
    owner: ml@example.com
    classification: internal
    rotation: {strategy: generated, interval: 30d, grace: 1h}
    destinations: [{store: aws, name: ml-database}]
"""
PATHS = (
    "secret/data/ml/db",
    "secret/data/ml/db/deep",
    "secret/data/ml",
    "secret/data/pay/key",
    "secret/metadata/ml/db",
)

POLICIES = {
    "exact": 'path "secret/data/ml/db" { capabilities = ["read", "list"] }',
    "glob": '# all of it\npath "secret/data/ml/*" {\n  capabilities = ["read"] // really\n}\n',
    "segment": 'path "secret/+/ml/+" { capabilities = ["read"] /* not "deep" } */ }',
    "denied": 'path "secret/data/*" { capabilities = ["read"] }\npath "secret/data/ml/db" { capabilities = ["deny"] }',
    "better": 'path "secret/data/ml/*" { capabilities = ["deny"] }\npath "secret/+/ml/db" { capabilities = ["read"] }',
    "twice": 'path "secret/data/pay/key" { capabilities = ["list"] }'
    '\n\npath "secret/data/pay/key" { capabilities = ["read"] }',
    "params": 'path "secret/data/*" { capabilities = ["create"]\n allowed_parameters = { "a" = ["}"]\n "*" = [] }\n}',
    "old": 'path "secret/data/ml/db" { policy = "read" }',
    "slash": 'path "/secret/data/ml/db" { capabilities = ["read"] }',
    "everything": 'path "*" { capabilities = ["read"] }',
    "dash": 'path "secret/data/m*" { capabilities = ["read"] }\npath "secret/data/ml/+" { capabilities = ["list"] }',
    "json": json.dumps({"path": {"secret/data/ml/*": {"capabilities": ["read"]}}}),
    "empty": "# nothing\n",
}

OWN = {"ml/database", "ml/unread"}
"""The secrets of these tests: others of the package have theirs in the same hub."""

LATER = datetime.now(UTC) + timedelta(days=100)
"""When a hundred days have gone by since the hub's secrets were made."""


@pytest.fixture
def catalogue(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    directory = tmp_path / "catalogue"
    directory.mkdir()
    (directory / "all.yaml").write_text(CATALOGUE)
    monkeypatch.setenv("VAULT_ADDR", hub.server.address)
    monkeypatch.setenv("VAULT_TOKEN", hub.server.root_token)
    hub.root.secrets.kv.v2.create_or_update_secret("ml/unread", {"password": "never"})
    yield directory
    hub.root.secrets.kv.v2.delete_metadata_and_all_versions("ml/unread")


def unused(catalogue: Path, directory: Path, days: int = 90) -> tuple[dict[str, UnusedSecret], str]:
    with opened_workspace(catalogue) as workspace:
        rows, remarks = find_unused(workspace, directory, days, LATER)
    return {row.path: row for row in rows if row.path in OWN}, "\n".join(remarks)


def test_what_nobody_but_keyturn_has_read_is_listed_with_who_could(catalogue: Path, tmp_path: Path) -> None:
    ago = {days: LATER - timedelta(days=days) for days in (99, 50, 1)}
    reads = [
        access(ago[99], "ml/other"),
        access(ago[50], "ml/database", "userpass-ana"),
        access(ago[1], "ml/database", "approle keyturn-worker"),
        access(ago[1], "ml/unread", denied=True),
    ]
    write(tmp_path / "trail", 0, reads)
    rows, remarks = unused(catalogue, tmp_path / "trail")
    assert set(rows) == {"ml/unread"}
    assert rows["ml/unread"].policies == ["reader"]
    assert str(rows["ml/unread"].places[0]).startswith("none since ")
    assert remarks == ""
    rows, _ = unused(catalogue, tmp_path / "trail", days=30)
    assert list(map(str, rows["ml/database"].places)) == [
        f"{ago[50]:%Y-%m-%d %H:%M:%S} by userpass-ana",
        "not known in aws",
    ]
    write(tmp_path / "trail", 1, [access(ago[1], "ml/database", system="aws")])
    assert set(unused(catalogue, tmp_path / "trail", days=30)[0]) == {"ml/unread"}


def test_a_short_trail_can_not_tell_of_long(catalogue: Path, tmp_path: Path) -> None:
    write(tmp_path, 0, [access(LATER - timedelta(days=3), "ml/other"), access(LATER - timedelta(days=900))])
    rows, remarks = unused(catalogue, tmp_path)
    assert set(rows) == {"ml/database", "ml/unread"}
    assert "hub is watched for 3 days alone" in remarks
    assert "the trail has heard of nothing yet" in unused(catalogue, tmp_path / "empty")[1]


def test_a_login_that_may_not_read_policies_says_so(
    hub: Hub, catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lister = 'path "secret/metadata/*" { capabilities = ["read", "list"] }'
    hub.root.sys.create_or_update_policy("lister", lister)
    token = hub.root.auth.token.create(policies=["lister"])["auth"]["client_token"]
    hub.root.sys.delete_policy("reader-of-policies")
    monkeypatch.setenv("VAULT_TOKEN", token)
    write(tmp_path, 0, [access(LATER - timedelta(days=99))])
    rows, remarks = unused(catalogue, tmp_path)
    assert rows["ml/unread"].policies is None
    assert "who could is not known: the hub's policies can't be read" in remarks
    hub.root.sys.delete_policy("lister")


def test_people_and_scripts_are_shown_it(catalogue: Path, tmp_path: Path) -> None:
    write(tmp_path, 0, [access(datetime.now(UTC) - timedelta(days=99))])
    arguments, env = ["unused", "--days", "2", "--catalogue", str(catalogue)], {"KEYTURN_TRAIL": str(tmp_path)}
    assert "every secret that is 2 days old was read" in CliRunner().invoke(app, arguments, env=env).stdout
    data = json.loads(CliRunner().invoke(app, [*arguments, "--json"], env=env).stdout)
    for command in lines_of("access-monitoring.md", "keyturn unused"):
        assert CliRunner().invoke(app, [*command.split()[1:], "--catalogue", str(catalogue)], env=env).exit_code == 0
    assert data == {"days": 2, "secrets": [], "covered": True, "remarks": []}


def test_policies_are_read_as_the_hub_reads_them(hub: Hub) -> None:
    ours, theirs = {}, {}
    for name, text in POLICIES.items():
        hub.root.sys.create_or_update_policy(f"test-{name}", text)
        token = hub.root.auth.token.create(policies=[f"test-{name}"], no_default_policy=True)["auth"]["client_token"]
        held = hub.root.write("sys/capabilities", token=token, paths=list(PATHS))["data"]
        theirs[name] = [path for path in PATHS if "read" in held[path]]
        ours[name] = [path for path in PATHS if policy_allows(parse_policy(text), path, "read")]
        hub.root.sys.delete_policy(f"test-{name}")
    assert ours == theirs
    assert ours["glob"] == list(PATHS[:2])
