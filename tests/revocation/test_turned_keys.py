"""Revocations during and after a replacement of the fingerprint key."""

from dataclasses import replace
from typing import Any

import pytest

from keyturn.core.errors import Denied, UnsupportedOperation
from keyturn.core.fingerprint import under_every_key
from keyturn.core.ports.stores import OwnershipTags, RemoteSecret, Unsupported
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.keys.refingerprint import turn_fingerprint_key
from keyturn.revocation import run
from keyturn.revocation.findings.leaked_versions import digest_by_marks
from keyturn.revocation.whois import Match, whois, whois_value
from keyturn.rotation.copies.push import sync_destinations
from keyturn.rotation.state.context import Workspace
from tests.revocation.scene import Scene
from tests.support.lab import Lab
from tests.support.memory_store import MemoryStore
from tests.support.turning import KeyState, later, turns


class Blind(MemoryStore):
    """A store that gives no value back, but to a test."""

    unsupported = frozenset({Unsupported.READ})

    def read(self, remote: str) -> Sensitive:
        raise UnsupportedOperation("read", f"{self.name}:{remote}", "it gives nothing back")


def turning(scene: Scene, store: MemoryStore) -> Workspace:
    """The scene's workspace over keys of an older release, its copy in ``store`` marked by the first of them."""
    workspace = replace(scene.workspace, hub=KeyState().laid_over(scene.workspace.hub), open_store=lambda _: store)
    sync_destinations(workspace, scene.path)
    return workspace


def step(workspace: Workspace, *, begin: bool = False) -> str:
    return turn_fingerprint_key(workspace, later(workspace), begin=begin).step


@pytest.mark.parametrize("kind", [MemoryStore, Blind])
def test_a_copy_marked_by_the_old_key_is_found_to_serve_what_has_leaked(lab: Lab, kind: type[MemoryStore]) -> None:
    scene, store = Scene.of(lab, "generated"), kind("memory")
    workspace = turning(scene, store)
    assert [step(workspace, begin=True), step(workspace)] == ["begun", "in use"]
    store.refuses = Denied("write", "memory", "not allowed", "Ask")
    stands = scene.revoke(workspace=workspace)
    assert stands.open
    assert any("serves the old value" in line for line in stands.left), stands.left
    store.refuses = None
    assert not run.finish(workspace, scene.site.incident).open
    assert step(workspace) == "retired"  # all that there is was written since


def test_an_incident_from_before_a_turn_is_finished_after_it(lab: Lab) -> None:
    scene, store = Scene.of(lab, "generated"), MemoryStore("memory")
    workspace = turning(scene, store)
    store.refuses = Denied("write", "memory", "not allowed", "Ask")
    assert scene.revoke(workspace=workspace).open
    assert [step(workspace, begin=True), step(workspace)] == ["begun", "in use"]
    assert step(workspace) == "held open"  # it may not be marked
    stands = run.finish(workspace, scene.site.incident)
    assert any("serves the old value" in line for line in stands.left), stands.left
    store.refuses = None
    assert not run.finish(workspace, scene.site.incident).open


def test_a_mark_by_a_key_that_the_incident_had_not_proves_nothing() -> None:
    old, new = "a" * 64, f"{'b' * 64}-2"
    copy = RemoteSecret("x", "1", OwnershipTags("a/b", 1, new))
    assert digest_by_marks(copy, copy.marks, {old}) == new
    assert digest_by_marks(copy, copy.marks, {old, f"{'c' * 64}-2"}) == ""
    assert digest_by_marks(copy, copy.marks, {old, new}) == new


def test_a_fingerprint_by_any_key_is_found_and_an_equal_value_of_another_secret_only_by_the_value(lab: Lab) -> None:
    scene = Scene.of(lab, "generated")
    workspace = turning(scene, MemoryStore("memory"))
    fields = SecretFields(scene.leaked[0])
    before = str(workspace.fingerprint(scene.path, fields))
    assert [turned.step for turned in turns(workspace)][-1] == "retired"
    made = workspace.fingerprint(scene.path, fields)
    assert under_every_key(made) == {before, str(made)}
    wanted: Any = [Match(scene.path, 1), Match(scene.path, 1, f"memory:{scene.path}")]
    for digest in (before, before[:12], made, made[:12], made.upper()):
        assert whois(workspace, digest) == wanted
    assert Match(scene.path, 1) in whois_value(workspace, Sensitive(scene.leaked[0]["value"]))
    assert whois(workspace, workspace.fingerprint("another/path", fields)) == []
