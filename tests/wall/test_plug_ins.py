"""Plug-ins can't replace built-in kinds, and a broken one stops no revocation."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from keyturn.catalogue import find_problems, load_catalogue
from keyturn.catalogue.consumers.registry import CONSUMERS
from keyturn.catalogue.keys import KEY_KINDS
from keyturn.catalogue.stores import STORE_KINDS
from keyturn.core.errors import Invalid
from keyturn.settings.choices import Registered
from keyturn.settings.consumers import ConsumerBase
from keyturn.strategies.registry import STRATEGIES
from keyturn.wiring.registry import open_store

ROOT: Final = Path(__file__).parents[2]
STORE: Final = """
from typing import Literal
from keyturn.catalogue.stores.aws import AwsSecretsManagerSettings
from keyturn.settings.stores import StoreBase
class Settings(StoreBase):
    kind: Literal["{kind}"]
    ADAPTER = "{name}.adapter:Adapter"
    LIMITS = AwsSecretsManagerSettings.LIMITS
    system = property(lambda self: ("{kind}", "here"))
"""
BROKEN: Final = {
    "raises": "raise SystemError('no')",
    "exits": "import sys; sys.exit(3)",
    "imports what is not there": "import a_module_that_is_not_there",
    "has no such class": "",
    "is no model": "Settings = 7",
    "is a model of something else": "from keyturn.settings.fields import Model\nclass Settings(Model):\n    kind: str",
}


def install(site: Path, name: str, kind: str, code: str, group: str = "keyturn.stores") -> None:
    """A distribution that brings one kind."""
    about = site / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{group}]\n{kind} = {name}.settings:Settings\n")
    (site / name).mkdir()
    (site / name / "__init__.py").write_text("")
    (site / name / "settings.py").write_text(code)
    # Another test's package of this name was somewhere else.
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]
    importlib.invalidate_caches()


def written(directory: Path, kind: str) -> Path:
    """A catalogue with a store of this kind and one of Keyturn's own, and a secret in each."""
    directory.mkdir()
    about = {"owner": "a@example.com", "classification": "internal"}
    rotation = {"strategy": "generated", "interval": "30d", "grace": "1h"}
    stores = {"theirs": {"kind": kind}, "ours": {"kind": "aws-secrets-manager", "region": "eu-central-1"}}
    secrets = {
        f"app/{store}": {
            **about,
            "rotation": rotation,
            "destinations": [{"store": store, "name": "a", "field": "value"}],
        }
        for store in stores
    }
    (directory / "all.yaml").write_text(json.dumps({"stores": stores, "secrets": secrets}))
    return directory


def flaws(directory: Path) -> str:
    return "\n".join(str(problem) for problem in find_problems(directory, {}))


def test_a_kind_that_two_packages_bring_is_used_from_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("acme_one", "acme_two"):
        install(tmp_path / "site", name, "acme", STORE.format(kind="acme", name=name))
    searched(monkeypatch, tmp_path / "site")
    found = flaws(written(tmp_path / "catalogue", "acme"))
    assert "stores.theirs.kind: more than one installed package brings it (acme_one, acme_two)" in found
    assert "acme" not in STORE_KINDS
    assert not [name for name in sys.modules if name.startswith("acme_")], "neither is imported"
    lenient = load_catalogue(tmp_path / "catalogue", {}, lenient=True)
    assert ("theirs" in lenient.stores, "ours" in lenient.stores) == (False, True)
    assert "app/ours" in lenient.secrets


def searched(monkeypatch: pytest.MonkeyPatch, site: Path) -> None:
    """Let the registries search the installed packages anew, those in ``site`` too; and forget them afterwards."""
    monkeypatch.syspath_prepend(str(site))
    for registry in (STORE_KINDS, STRATEGIES, KEY_KINDS):
        again: Registered[Any] = Registered({**registry._shipped}, registry._group, registry._base)
        monkeypatch.setitem(registry.__dict__, "_added", again._added)
        monkeypatch.setattr(registry, "_opened", {})


@pytest.mark.parametrize("kind", ["aws-secrets-manager", "kubernetes"])
def test_a_shipped_kind_is_replaced_by_none(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "site", "acme_shadow", kind, STORE.format(kind=kind, name="acme_shadow"))
    searched(monkeypatch, tmp_path / "site")
    assert STORE_KINDS[kind].__module__.startswith("keyturn.")
    assert "acme_shadow.settings" not in sys.modules


@pytest.mark.parametrize("code", BROKEN.values(), ids=BROKEN)
def test_an_unusable_package_is_reported_and_stops_nothing_else(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "site", "acme_broken", "acme", code)
    searched(monkeypatch, tmp_path / "site")
    found = flaws(written(tmp_path / "catalogue", "acme"))
    assert "stores.theirs.kind: the installed package acme_broken" in found
    assert "Uninstall the package" in found
    assert "app/ours" in load_catalogue(tmp_path / "catalogue", {}, lenient=True).secrets
    assert set(STORE_KINDS) == set(STORE_KINDS._shipped), "what goes through all kinds skips it"
    assert list(STORE_KINDS.values())


@pytest.mark.parametrize("group", ["strategies", "keys", "consumers", "access_logs"])
def test_every_plug_in_registry_behaves_the_same(group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "site", "acme_broken", "acme", BROKEN["exits"], f"keyturn.{group}")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    registry = Registered(CONSUMERS, f"keyturn.{group}", ConsumerBase)
    assert "acme" not in registry
    assert registry.flaw("acme") == (
        "the installed package acme_broken can't load it: acme_broken.settings:Settings raises SystemExit"
    )


def test_an_adapter_that_can_not_be_loaded_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "site", "acme_late", "acme", STORE.format(kind="acme", name="acme_late"))
    (tmp_path / "site" / "acme_late" / "adapter.py").write_text("raise ZeroDivisionError")
    searched(monkeypatch, tmp_path / "site")
    catalogue = load_catalogue(written(tmp_path / "catalogue", "acme"), {})
    with pytest.raises(Invalid, match=r"acme_late.adapter:Adapter can't be loaded \(ZeroDivisionError\)"):
        open_store("theirs", catalogue.stores["theirs"])


def test_the_command_reports_it_in_one_line(tmp_path: Path) -> None:
    install(tmp_path / "site", "acme_broken", "acme", BROKEN["raises"])
    catalogue = written(tmp_path / "catalogue", "acme")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(tmp_path / "site")))}
    command = [sys.executable, "-m", "keyturn.cli", "catalogue", "validate", str(catalogue)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the installed package acme_broken can't load it" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
