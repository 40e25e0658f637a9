"""A hub that is set up for one catalogue is not shrunk by another one, and two of one id are reported."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from keyturn.cli.app import app
from keyturn.rights.hub_claims import MOST, Claim, other_catalogue, some_of
from tests.hub_setup.site import Empty, as_environment

WORKER = "hub: { keyturn-worker: { kind: approle, login: worker, addresses: [127.0.0.0/8] } }\n"
SECRET = (
    "{ owner: a@example.com, classification: internal, rotation: { strategy: generated, interval: 30d, grace: 1h } }"
)


def declare(directory: Path, *paths: str, own_id: str = "") -> None:
    """The catalogue that the environment leads to."""
    own = f"id: {own_id}\n" if own_id else ""
    secrets = "".join(f"  {path}: {SECRET}\n" for path in paths)
    (directory / "catalogue").mkdir(exist_ok=True)
    (directory / "catalogue" / "all.yaml").write_text(f"{own}{WORKER}secrets:\n{secrets}")


def keyturn(*arguments: str) -> Result:
    """Run one command in this process."""
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def shop(empty: Empty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Empty:
    """A hub that is set up for a catalogue with the secrets shop/a and shop/b."""
    as_environment(empty, tmp_path, monkeypatch)
    declare(tmp_path, "shop/a", "shop/b")
    assert keyturn("setup", "hub", "--apply", "--yes").exit_code == 0
    return empty


def policy(empty: Empty) -> str:
    """What a worker may do."""
    return str(empty.read("sys/policies/acl/keyturn-worker")["policy"])


@pytest.mark.parametrize("own_id", ["", "stock"])
def test_another_catalogue_changes_no_policy_unless_it_takes_the_hub_over(
    shop: Empty, tmp_path: Path, own_id: str
) -> None:
    before = policy(shop)
    declare(tmp_path, "stock/c", own_id=own_id)
    refused = keyturn("setup", "hub", "--apply", "--yes")
    assert refused.exit_code == 1
    assert "it is set up for another catalogue called default, whose secrets this one lacks: shop/a and 1 more" in (
        refused.stderr
    )
    assert "KEYTURN_WORKSPACE" in refused.stderr
    assert policy(shop) == before
    assert keyturn("setup", "hub", "--apply").exit_code == 1
    assert policy(shop) == before
    planned = keyturn("setup", "hub")
    assert (planned.exit_code, "setup hub --apply refuses" in planned.stderr) == (3, True)

    assert keyturn("setup", "hub", "--apply", "--yes", "--take-over").exit_code == 0
    assert "secret/data/stock/c" in policy(shop)
    declare(tmp_path, "shop/a", "shop/b")
    assert keyturn("setup", "hub", "--apply", "--yes").exit_code == 1


def test_an_edited_catalogue_goes_on_and_so_does_one_that_gets_its_first_id(shop: Empty, tmp_path: Path) -> None:
    declare(tmp_path, "shop/a", "stock/c")
    assert keyturn("setup", "hub", "--apply", "--yes").exit_code == 0
    declare(tmp_path, "shop/a", "stock/c", "stock/d", own_id="shop")
    assert keyturn("setup", "hub", "--apply", "--yes").exit_code == 0
    declare(tmp_path, "shop/a", "stock/c", own_id="other")
    refused = keyturn("setup", "hub", "--apply", "--yes")
    assert "it is set up for the catalogue shop, and this one is other" in refused.stderr


def test_a_workspace_of_another_name_has_its_own_set_up(
    shop: Empty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = policy(shop)
    declare(tmp_path, "stock/c")
    monkeypatch.setenv("KEYTURN_WORKSPACE", "stock")
    done = keyturn("setup", "hub", "--apply", "--yes")
    assert "another catalogue" not in done.stderr
    assert policy(shop) == before


def test_a_hub_that_an_older_release_has_set_up_tells_by_what_was_rotated(shop: Empty, tmp_path: Path) -> None:
    state = shop.hub.read_state("setup")
    assert state is not None
    shop.hub.write_state("setup", {key: state.data[key] for key in ("made", "intended")}, cas=state.version)
    shop.root.secrets.kv.v2.create_or_update_secret("shop/a", secret={"value": "first"}, mount_point="secret")
    assert keyturn("rotate", "shop/a", "--now", "--local").exit_code == 0
    declare(tmp_path, "stock/c")
    refused = keyturn("setup", "hub", "--apply", "--yes")
    assert "whose secrets this one lacks: shop/a" in refused.stderr


def test_doctor_and_plan_report_two_catalogues_of_one_id(shop: Empty, tmp_path: Path) -> None:
    shop.root.secrets.kv.v2.create_or_update_secret("shop/a", secret={"value": "first"}, mount_point="secret")
    assert keyturn("rotate", "shop/a", "--now", "--local").exit_code == 0
    words = "shop/a was rotated under the catalogue id default, and this catalogue does not declare it"
    assert words not in keyturn("plan").stderr

    declare(tmp_path, "stock/c")
    assert words in " ".join(keyturn("plan").stderr.split())
    examined = keyturn("doctor", "--json")
    assert words in examined.stdout, examined.output
    declare(tmp_path, "stock/c", own_id="stock")
    assert words not in keyturn("plan").stderr


def test_a_claim_names_a_part_of_many_secrets_and_tells_the_same_catalogue_by_it() -> None:
    many = [f"folder-{number % 7}/{number}" for number in range(5_000)]
    claim = Claim("default", some_of(many))
    assert len(claim.secrets) == MOST
    assert other_catalogue(Claim.from_data(claim.to_data()), "default", many) == ""
    assert other_catalogue(claim, "default", [path for path in many if path.startswith("folder-3")]) == ""
    assert "another catalogue" in other_catalogue(claim, "default", ["else/a"])
    assert other_catalogue(None, "default", many) == ""
    assert other_catalogue(claim, "default", []) == ""
