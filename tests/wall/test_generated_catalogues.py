"""Random catalogues that load contain no right, file or host outside the allowed lists."""

import json
import os
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from keyturn.catalogue import Catalogue, load_catalogue
from keyturn.catalogue.checks import consistency, permissions
from keyturn.catalogue.files.parse import RECIPE_ENDING
from keyturn.catalogue.hub_entries import database_roles
from keyturn.catalogue.operator.policy import VARIABLE
from keyturn.core.errors import Invalid
from keyturn.rights import hub_policies, scope
from keyturn.rights.scope import places_of, scope_of
from keyturn.settings.hub import HubSettings
from tests.support import sampling

CREATION = ["CREATE ROLE x"]
TIMES = {"interval": "30d", "grace": "1h"}
SECRET = {"owner": "a@example.com", "classification": "internal"}
FACTS = {
    "category": "business",
    "facts": {"side_by_side": "many", "shown_once": True, "ends": "at once", "admin": "manage keys"},
    "sources": [{"document": "Acme API", "checked": "2026-01-01", "seen": "memory"}],
}
RECIPES: dict[str, Any] = {
    "key": {
        "title": "Acme key",
        "strategy": "http-api-key",
        "parameters": {
            "url": {"about": "Its address.", "example": "https://a.example.com"},
            "ca_file": {"about": "Its authority.", "example": "/a"},
            "account": {"about": "The account.", "example": "a"},
            "scopes": {"about": "What it may do.", "example": ["a"]},
        },
        "target": {"kind": "http-api", "url": "{{url}}/v1", "ca_file": "{{ca_file}}"},
        "rotation": {
            "create": {"path": "/accounts/{{account}}/keys", "body": {"scopes": "{{scopes}}"}},
            "answer": {"id": "/id", "key": "/key"},
            "test": {"path": "/me", "headers": {"x-key": "{{key}}"}},
            "delete": {"path": "/keys/{{id}}"},
        },
        "defaults": TIMES,
    },
    "login": {
        "title": "Login of an engine",
        "strategy": "vault-dynamic",
        "parameters": {
            "mount": {"about": "The engine.", "example": "database"},
            "role": {"about": "Its role.", "example": "app"},
        },
        "rotation": {"mount": "{{mount}}", "role": "{{role}}"},
        "defaults": TIMES,
    },
}
"""The catalogue's own recipes. Their parameters are changed as the rest of the catalogue is."""
SOUND: dict[str, Any] = {
    "stores": {
        "vault": {"kind": "vault", "address": "https://a.example.com", "mount": "kv", "token_file": "FILES/token"},
        "files": {"kind": "file", "directory": "COPIES/a"},
        "cluster": {"kind": "kubernetes", "namespace": "a", "kubeconfig": "FILES/config"},
    },
    "targets": {
        "ml": {
            "kind": "postgresql",
            "host": "ml.example.com",
            "database": "ml",
            "admin": "targets/ml",
            "ca_file": "FILES/ca",
        },
        "other": {"kind": "postgresql", "host": "other.example.com", "database": "o", "admin": "targets/other"},
        "acme": {
            "recipe": "key",
            "admin": "targets/acme",
            "parameters": {"url": "https://acme.example.com", "ca_file": "FILES/ca"},
        },
    },
    "consumers": {"app": {"url": "https://app.example.com", "signing_key": "webhooks/app"}},
    "mounts": {"more": {"mount": "kv-more"}},
    "hub": {
        "ml": {"kind": "database", "target": "ml", "mount": "database"},
        "other": {"kind": "database", "target": "other", "mount": "other-db"},
        "reader": {"kind": "database-role", "connection": "ml", "creation": CREATION},
        "swift": {"kind": "database-role", "connection": "other", "creation": CREATION},
    },
    "secrets": {
        "ml/database": {
            **SECRET,
            "consumers": ["app"],
            "rotation": {"strategy": "vault-dynamic", "target": "ml", "role": "app", "mount": "database", **TIMES},
        },
        "ml/cert": {
            **SECRET,
            "rotation": {
                "strategy": "certificate",
                "mount": "pki",
                "role": "app",
                "issuer": "ca",
                "common_name": "a.internal",
                "ttl": "60d",
                "grace": "1h",
            },
        },
        "acme/key": {
            **SECRET,
            "rotation": {"recipe": "key", "target": "acme", "parameters": {"account": "a", "scopes": ["read"]}},
        },
        "acme/login": {
            **SECRET,
            "rotation": {"recipe": "login", "target": "ml", "parameters": {"mount": "database", "role": "acme"}},
        },
        "more:ml/key": {**SECRET, "rotation": {"strategy": "generated", **TIMES}},
        "other/login": {
            **SECRET,
            "classification": "restricted",
            "rotation": {
                "strategy": "single-user",
                "user": "a",
                "accepts_gap": True,
                "target": "other",
                "interval": "30d",
                "grace": "0s",
            },
        },
    },
    "syncs": {"all": {"paths": ["ml/*", "shared/**"], "without": ["ml/x"], "stores": ["files"], "separator": "-"}},
    "access_policies": {
        "oncall": {
            "paths": ["ml/database"],
            "subjects": {"entities": ["e"]},
            "credential": "database/creds/reader",
            "approvers": ["bea"],
        }
    },
}
"""A catalogue that loads, of which some texts are changed."""

FILES = st.sampled_from(
    ["/etc/shadow", "~/.ssh/id", "/proc/self/environ", "FILES/../x", "FILES/zz", "FILES/./zz", "/zz/x", "x", "COPIES/y"]
)
DIRECTORIES = st.sampled_from(
    ["COPIES/a/x", "COPIES/bin", "COPIES/../zz", "COPIES", "FILES", "/zz", "/usr/lib", "~/bin"]
)
HOSTS = st.sampled_from(
    ["evil.example.org", "169.254.169.254", "b.example.com", "example.com", "a.example.com.evil.org", "127.0.0.1", "zz"]
)
TEXTS = st.sampled_from(
    [
        *("*", "+", "..", "zz*", "*zz", "+zz", "zz+", "zz/../zz", "zz/+/zz", "zz/*zz", "zz", "{{zz}}", "${HOME}"),
        *("secret/data/zz", "secret/data", "secret", "keyturn/data/targets", "transit", "auth/token", "sys", "pki"),
        *("database/creds/swift", "other-db/creds/swift", "database/creds/*", "auth/token/create", "secret/data/x"),
        *("/etc/shadow", "evil.example.org", "https://evil.example.org", "x"),
        *("targets/other", "targets/ml/zz", "other", "ml", "reader", "swift", "**", "other/login", "more:zz"),
    ]
) | st.text("ab*+./-_:{}$~ \n", max_size=10)

WILD = re.compile(r"zz.*[*+].*zz|[*+]zz|zz[*+]|\.\.")
"""A pattern of the hub's policies that stands within a text of the catalogue, all of which have this sign."""


def leaves(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the texts are, names of secrets and entries not among them."""
    for key, inner in data.items() if isinstance(data, dict) else enumerate(data):
        if isinstance(inner, str):
            yield (*path, key)
        elif isinstance(inner, dict | list):
            yield from leaves(inner, (*path, key))


def kind_of(path: tuple[Any, ...]) -> st.SearchStrategy[str]:
    """Texts for a place in the catalogue, of which some are legal there."""
    key = path[-1]
    if key == "directory":
        return DIRECTORIES
    if key.endswith("_file") or key == "kubeconfig":
        return FILES
    if key == "host":
        return HOSTS
    return HOSTS.map("https://{}".format) if key in ("address", "url") else TEXTS


def changes(only: str = "") -> st.SearchStrategy[dict[tuple[Any, ...], str]]:
    """One to three other texts. Files, directories and hosts are changed as often as everything else together.

    ``only`` is the section or the key to which they are limited.
    """
    every = [path for path in leaves(SOUND) if not only or only in path]
    places = [path for path in every if isinstance(path[-1], str)]
    leading = [path for path in places if kind_of(path) is not TEXTS]
    change = st.one_of(
        *(
            st.sampled_from(some).flatmap(lambda path: st.tuples(st.just(path), kind_of(path)))
            for some in (places, leading)
            if some
        )
    )
    inner = [path for path in every if not isinstance(path[-1], str)]
    listed = st.tuples(st.sampled_from(inner), TEXTS) if inner else st.nothing()
    return st.lists(change | listed, min_size=1, max_size=3).map(dict)


def changed(changes: dict[tuple[Any, ...], str]) -> dict[str, Any]:
    """The catalogue with these texts instead."""
    data = deepcopy(SOUND)
    for path, text in changes.items():
        place = data
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = text
    return data


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The operator's file, and the directories that it lists."""
    place = Path(os.path.realpath(tmp_path_factory.mktemp("generated")))
    (place / "catalogue").mkdir()
    (place / "etc").mkdir()
    lists = {
        "hosts": ["*.example.com"],
        "files": [str(place / "files")],
        "directories": [str(place / "copies")],
        "undeclared": ["shared/*"],
    }
    (place / "etc" / "policy.yaml").write_text(json.dumps(lists))
    for name, recipe in RECIPES.items():
        (place / "catalogue" / f"{name}{RECIPE_ENDING}").write_text(json.dumps(FACTS | recipe))
    return place


def loaded(place: Path, data: dict[str, Any]) -> Catalogue:
    text = json.dumps(data).replace("FILES", str(place / "files")).replace("COPIES", str(place / "copies"))
    (place / "catalogue" / "all.yaml").write_text(text)
    return load_catalogue(place / "catalogue", {VARIABLE: str(place / "etc" / "policy.yaml")})


def insist_on_rights(catalogue: Catalogue) -> None:
    """No rendered rule has a pattern of the catalogue's, and no credential is of an undeclared role."""
    rights = scope_of(catalogue, places_of(catalogue, HubSettings("https://hub.example.com")))
    roles = [*hub_policies.ROLES, *(f"{hub_policies.CONSUMER}:{name}" for name in rights.consumers)]
    paths = [rule.path for role in roles for section in hub_policies.sections(rights, role) for rule in section.rules]
    assert not [path for path in paths if WILD.search(path)]
    copied = {copy.path for copy in rights.copied if "*" in copy.path}
    assert copied <= {"shared/*"}, "only the operator's file has patterns of undeclared secrets"
    declared = database_roles(catalogue.hub)
    granted = [rule.path for section in hub_policies.sections(rights, hub_policies.GRANT) for rule in section.rules]
    assert set(granted) - {"auth/token/lookup-self", "auth/token/revoke-self"} <= set(declared)
    for policy in catalogue.access_policies.values():
        chosen = [secret for path, secret in catalogue.secrets.items() if policy.covers(path, secret.about)]
        targets = {getattr(secret.rotation, "target", None) for secret in chosen}
        assert targets <= {declared[policy.gives].target}


OWN = ("secret", "keyturn", "transit", "sys", "auth", "identity", "cubbyhole")
"""Mounts of the hub itself and of Keyturn, the first of them of secrets."""


def rendered(catalogue: Catalogue) -> set[str]:
    """The paths of all rules of all logins."""
    rights = scope_of(catalogue, places_of(catalogue, HubSettings("https://hub.example.com")))
    roles = [*hub_policies.ROLES, *(f"{hub_policies.CONSUMER}:{name}" for name in rights.consumers)]
    return {rule.path for role in roles for section in hub_policies.sections(rights, role) for rule in section.rules}


def insist_on_mounts(catalogue: Catalogue, usual: set[str]) -> None:
    """Every right that the sound catalogue does not need is of a declared engine, secret or entry.

    The rules are parsed here, not rendered again: what this says does not follow from the code that is tested.
    """
    made = (*(secret.rotation for secret in catalogue.secrets.values()), *catalogue.hub.values())
    engines = {mount for entry in made if (mount := getattr(entry, "mount", None))}
    secrets = {"secret", *catalogue.mount_paths.values()}
    for mount in engines:
        assert not [other for other in (*OWN, *secrets) if f"{mount}/".startswith(f"{other}/")], mount
    rights = scope_of(catalogue, places_of(catalogue, HubSettings("https://hub.example.com")))
    known = {(secret.mount, secret.path) for secret in (*rights.secrets, *rights.copied)}
    listed = {(mount, "*") for mount in secrets}
    entries = (
        *(f"targets/{name}" for name in catalogue.targets),
        *(f"webhooks/{name}" for name in catalogue.consumers),
    )
    for path in rendered(catalogue) - usual:
        mount = next(
            (each for each in sorted(engines | secrets, key=len, reverse=True) if path.startswith(each + "/")), ""
        )
        kind, _, within = path.removeprefix(f"{mount}/").partition("/")
        place = path.removeprefix("keyturn/data/")
        assert (
            (mount in engines and kind not in ("data", "metadata", "config"))
            or (mount in engines and f"{mount}/config/{within}" == path and within in catalogue.hub)
            or (mount in secrets and (mount, within) in known | listed)
            or any(place == entry or place.startswith(f"{entry}/") for entry in entries)
            or re.fullmatch(
                rf"sys/(leases/lookup|mounts|internal/ui/mounts)/({'|'.join(map(re.escape, engines | secrets))})(/.*)?",
                path,
            )
        ), path


def insist_on_places(catalogue: Catalogue, place: Path) -> None:
    """No file and no host that the operator's file leaves out, and no entry of the hub that is another's."""
    for folder, key, entries in (
        ("targets", "admin", catalogue.targets),
        ("webhooks", "signing_key", catalogue.consumers),
    ):
        for name, system in entries.items():
            assert f"{getattr(system, key)}/".startswith(f"{folder}/{name}/")
    for entry in (*catalogue.stores.values(), *catalogue.targets.values(), *catalogue.consumers.values()):
        for key, value in entry:
            if isinstance(value, str) and (key.endswith("_file") or key in ("kubeconfig", "directory")):
                allowed = [place / "copies"] if key == "directory" else [place / "files"]
                allowed += [place / "catalogue"] if key == "ca_file" else []
                real = Path(os.path.realpath(os.path.expanduser(value)))
                assert any(real.is_relative_to(directory) for directory in allowed), (key, value)
                assert "bin" not in real.parts or key != "directory"
            host = value if key == "host" else urlsplit(str(value)).hostname if "://" in str(value) else None
            assert host is None or host.lower().endswith(".example.com"), (key, value)


@pytest.fixture(scope="module")
def usual(place: Path) -> set[str]:
    """The rights of the catalogue that is changed."""
    return rendered(loaded(place, SOUND))


def insist_on_lists(place: Path, usual: set[str], changes: dict[tuple[Any, ...], str]) -> None:
    """The catalogue with these changes does not load, or keeps to the lists."""
    try:
        catalogue = loaded(place, changed(changes))
    except Invalid:
        return
    insist_on_places(catalogue, place)
    try:
        insist_on_rights(catalogue)
        insist_on_mounts(catalogue, usual)
    except Invalid:
        return  # nothing is rendered from it


def test_the_catalogue_that_is_changed_loads_as_it_is(place: Path, usual: set[str]) -> None:
    assert loaded(place, SOUND).access_policies
    insist_on_lists(place, usual, {})


@settings(
    max_examples=sampling.examples(200, 3000),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example(changes={("syncs", "all", "paths", 0): "_.."})
@given(changes=changes())
def test_no_catalogue_that_loads_has_a_right_a_file_or_a_host_outside_the_lists(
    place: Path, usual: set[str], changes: dict[tuple[Any, ...], str]
) -> None:
    insist_on_lists(place, usual, changes)


WITHOUT: dict[str, tuple[str, Any, str, Any]] = {
    "files": ("stores", permissions.FileRules, "find_flaws", lambda *_: iter(())),
    "hosts": ("targets", permissions, "_hosts", lambda *_: iter(())),
    "entries of others": ("targets", permissions, "_other_place", lambda *_: iter(())),
    "targets of policies": ("access_policies", consistency, "find_access_flaws", lambda *_: iter(())),
    "mounts": ("mount", scope, "_insist_on_apart", lambda *_: None),
    "undeclared secrets": ("syncs", scope, "undeclared_patterns", lambda _, sync: iter(sync.paths)),
}
"""What is checked, the section or key that shows it, and how it is taken away."""


@pytest.mark.parametrize("check", WITHOUT)
def test_the_same_catalogues_show_it_where_a_check_is_missing(
    check: str, place: Path, usual: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    only, module, name, replacement = WITHOUT[check]
    monkeypatch.setattr(module, name, replacement)

    @settings(max_examples=3000, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
    @given(changes=changes(only))
    def found(changes: dict[tuple[Any, ...], str]) -> None:
        insist_on_lists(place, usual, changes)

    with pytest.raises(AssertionError):
        found()
