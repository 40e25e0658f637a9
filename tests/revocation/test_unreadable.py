"""Secrets deleted or destroyed in the hub before a revocation are unreadable, not absent."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from keyturn.core.errors import Superseded
from keyturn.core.ports.hub import VersionState
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.revocation import run
from keyturn.revocation.incidents.incident import Mode
from keyturn.revocation.preview import preview_revocation
from keyturn.revocation.selector import Selection, Selector, select_secrets
from keyturn.revocation.whois import whois, whois_value
from keyturn.rotation.run import rotate
from tests.revocation.scene import KINDS, Scene
from tests.support.lab import Lab

pytestmark = pytest.mark.sampled(10, of="file")

PLACED = ("alternating", "single", "dynamic")
"""Those whose target tells everything of the secret."""
MODES = pytest.mark.parametrize("mode", list(Mode))

Act = Callable[[Scene], object]


def delete(scene: Scene, *versions: int) -> None:
    """``vault kv delete``, of the newest or of these."""
    info = scene.lab.hub.describe(scene.path)
    assert info is not None
    scene.lab.hub.delete(scene.path, versions or [info.version])


def destroy(scene: Scene, *versions: int) -> None:
    """``vault kv destroy``."""
    info = scene.lab.hub.describe(scene.path)
    assert info is not None
    scene.lab.hub.destroy(scene.path, versions or [info.version])


def remove(scene: Scene) -> None:
    """``vault kv metadata delete``."""
    scene.lab.root.secrets.kv.v2.delete_metadata_and_all_versions(scene.path, mount_point="secret")


def undelete_everything(scene: Scene) -> None:
    """``vault kv undelete``, of every version there is."""
    info = scene.lab.hub.describe(scene.path)
    scene.lab.hub.undelete(scene.path, [one.version for one in info.versions] if info else [])


def rest(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: fields[name] for name in ("host", "port", "endpoint", "retries") if name in fields}


@pytest.mark.parametrize("kind", KINDS)
@MODES
def test_what_was_deleted_ends_like_what_can_be_read_and_an_undelete_gives_nothing_back(
    lab: Lab, kind: str, mode: Mode
) -> None:
    scene = Scene.of(lab, kind)
    delete(scene)
    stands = scene.revoke(mode)
    scene.assert_over(stands)
    undelete_everything(scene)
    scene.assert_clean()
    assert len(stands.secrets[0].old) == 1
    if mode is Mode.REPLACE:
        scene.assert_works()
        assert rest(lab.current(scene.site.secret)) == rest(scene.leaked[0])


@pytest.mark.parametrize("kind", PLACED)
@MODES
def test_what_was_destroyed_is_ended_by_its_place(lab: Lab, kind: str, mode: Mode) -> None:
    scene = Scene.of(lab, kind)
    destroy(scene)
    if mode is Mode.REPLACE:
        lab.hub.write(scene.path, SecretFields(rest(scene.leaked[0])), cas=1)
    stands = scene.revoke(mode)
    scene.assert_over(stands)
    assert [one.words for one in stands.secrets[0].unseen] == ["version 1 (it is destroyed)"]
    if mode is Mode.REPLACE:
        scene.assert_works()
        assert rest(lab.current(scene.site.secret)) == rest(scene.leaked[0])


@pytest.mark.parametrize("kind", PLACED)
def test_where_current_is_destroyed_its_address_is_taken_from_the_version_before_it(lab: Lab, kind: str) -> None:
    scene = Scene.of(lab, kind, rotated=1, grace="1d")
    destroy(scene)
    scene.assert_over(scene.revoke())
    scene.assert_works()
    assert rest(lab.current(scene.site.secret)) == rest(scene.leaked[0])


@pytest.mark.parametrize("kind", PLACED)
@pytest.mark.parametrize("act", [destroy, remove])
def test_where_nothing_tells_what_stood_beside_the_credential_a_person_is_asked_for_it(
    lab: Lab, kind: str, act: Act
) -> None:
    scene = Scene.of(lab, kind, rotated=1, grace="1d")
    destroy(scene, 1)
    act(scene)
    stands = scene.revoke()
    assert not [one for one in scene.leaked if lab.logs_in(one)]
    assert (stands.open, lab.hub.read(scene.path)) == (True, None)
    assert "the fields next to the credential" in stands.left[0]
    info = lab.hub.describe(scene.path)
    lab.hub.write(scene.path, SecretFields(rest(scene.leaked[0])), cas=info.version if info else 0)
    scene.assert_over()
    scene.assert_works()
    assert rest(lab.current(scene.site.secret)) == rest(scene.leaked[0])


@MODES
@pytest.mark.parametrize("act", [destroy, remove])
def test_a_value_that_no_target_knows_and_nobody_could_look_at_is_never_proven(lab: Lab, mode: Mode, act: Act) -> None:
    scene = Scene.of(lab, "generated", rotated=1)
    destroy(scene, 1)
    act(scene)
    if mode is Mode.REPLACE:
        info = lab.hub.describe(scene.path)
        lab.hub.write(scene.path, SecretFields(rest(scene.leaked[0])), cas=info.version if info else 0)
    stands = scene.revoke(mode)
    assert stands.open
    (said,) = stands.left
    assert "not proven: could not look at" in said
    assert "no target that could refuse it" in said
    scene.assert_clean()


def test_a_second_revocation_is_proven_though_the_first_has_destroyed_what_was_there(lab: Lab) -> None:
    scene = Scene.of(lab, "generated")
    scene.assert_over(scene.revoke())
    scene.site.incident = f"{scene.site.incident}-2"
    scene.note()
    scene.assert_over(scene.revoke())


@pytest.mark.parametrize("kind", KINDS)
def test_whois_finds_a_value_in_a_deleted_version_and_leaves_it_deleted(lab: Lab, kind: str) -> None:
    scene = Scene.of(lab, kind)
    workspace, secret = scene.workspace, scene.secret_of(scene.leaked[0])
    whole = workspace.fingerprint(scene.path, SecretFields(scene.leaked[0]))
    delete(scene)
    for found in (whois(workspace, whole), whois_value(workspace, Sensitive(secret))):
        assert [(one.path, one.version) for one in found if not one.place] == [(scene.path, 1)]
    assert [one.state for one in lab.hub.describe(scene.path).versions] == [VersionState.DELETED]  # type: ignore[union-attr]
    assert select_secrets(workspace, Selector(fingerprint=whole)) == Selection((scene.path,))


def test_who_may_not_look_at_a_deleted_version_is_told_of_it_by_whois_and_never_proves_it(lab: Lab) -> None:
    scene = Scene.of(lab, "generated")
    lab.root.sys.create_or_update_policy(
        "no-undelete",
        """
        path "secret/undelete/*" { capabilities = ["deny"] }
        path "secret/*" { capabilities = ["create", "read", "update", "patch", "list"] }
        path "keyturn/*" { capabilities = ["create", "read", "update", "patch", "list"] }
        """,
    )
    delete(scene)
    poor = scene.site.with_rights_of("no-undelete")
    (match,) = whois_value(poor, Sensitive("not-a-value-of-it"))
    assert (match.version, "lacks update on secret/undelete/" in match.unseen) == (1, True)
    stands = scene.revoke(Mode.REVOKE_ONLY, replace(poor, sleep=lambda seconds: None))
    assert stands.open
    assert any(
        "not proven: could not look at version 1 (it is deleted, and this login lacks" in said for said in stands.left
    )
    scene.assert_over()


def test_a_lease_prefix_chooses_the_secret_whose_version_was_deleted(lab: Lab) -> None:
    scene = Scene.of(lab, "dynamic")
    delete(scene)
    chosen = select_secrets(scene.workspace, Selector(lease_prefix=f"database/creds/{scene.site.secret.role}"))
    assert chosen.paths == (scene.path,)


def test_a_preview_tells_what_can_not_be_read_and_changes_nothing(lab: Lab) -> None:
    scene = Scene.of(lab, "alternating", rotated=1)
    destroy(scene, 1)
    delete(scene)
    (blast,) = preview_revocation(scene.workspace, Selection((scene.path,)), Mode.REPLACE).secrets
    told = " ".join(blast.warnings)
    assert "version 1 is destroyed" in told
    assert "version 2 is deleted" in told
    states = [one.state for one in lab.hub.describe(scene.path).versions]  # type: ignore[union-attr]
    assert states == [VersionState.DESTROYED, VersionState.DELETED]


@pytest.mark.parametrize("kind", PLACED)
def test_a_late_run_of_the_revocation_ends_nothing_that_was_put_in_force_since(lab: Lab, kind: str) -> None:
    scene = Scene.of(lab, kind)
    strategy = scene.workspace.open_strategy(scene.path)
    found = list(strategy.find_everything([]))
    stands = scene.revoke()
    rotate(scene.workspace, scene.path, Trigger.FORCE)
    for name in found:
        with suppress(Superseded):
            strategy.revoke_found(name, stands.secrets[0].sequence)
    assert lab.logs_in(lab.current(scene.site.secret))


def test_a_user_that_a_person_lets_in_again_before_the_proof_is_ended_again(lab: Lab) -> None:
    scene = Scene.of(lab, "alternating", rotated=1, grace="1d")
    incident = scene.site.begin()
    run.restore_service(scene.workspace, incident)
    serving = lab.current(scene.site.secret)["username"]
    (other,) = set(scene.site.secret.users) - {serving}
    lab.sql(f"ALTER ROLE {other} LOGIN PASSWORD 'by-hand'")
    stands = run.finish(scene.workspace, scene.site.incident)
    scene.assert_over(stands)
    assert not lab.logs_in({"username": other, "password": "by-hand"})
    scene.assert_works()
