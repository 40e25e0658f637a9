"""A plan with a login that may not read values: marks are compared, and it says which copies are not."""

from dataclasses import replace
from pathlib import Path

from keyturn.catalogue import Catalogue
from keyturn.core.plan import Action
from keyturn.core.rights.hcl import policy
from keyturn.core.rights.rights import HubPlaces
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.providers.vault.hub import VaultHub
from keyturn.rights import hub_policies as rules
from keyturn.rights.scope import scope_of
from keyturn.rotation.copies.push import sync_destinations
from keyturn.rotation.run import rotate
from keyturn.settings.hub import HubSettings
from keyturn.settings.hub_login import TokenLogin
from keyturn.sync.plan import plan
from keyturn.wiring.registry import open_workspace
from tests.rotation.helpers import with_copy
from tests.support.lab import Lab, catalogue_data, fresh
from tests.support.memory_store import MemoryStore
from tests.support.world import REGION


def test_a_plan_compares_what_marks_tell_and_says_what_it_did_not_compare(lab: Lab, tmp_path: Path) -> None:
    same, other, new = (with_copy(lab.generated()) for _ in range(3))
    memory = MemoryStore("memory")
    store = {"kind": "aws-secrets-manager", "region": REGION}
    catalogue = Catalogue.model_validate(catalogue_data(lab.world, (same, other, new), store, {}))
    opened = replace(open_workspace(catalogue, lab.hub), open_store=lambda name: memory)
    for secret in (same, other):
        rotate(opened, secret.path, Trigger.FORCE)
        sync_destinations(opened, secret.path)
    lab.hub.write(other.path, SecretFields({"value": "written by hand"}), cas=2)
    name, login = fresh(), tmp_path / "token"
    lab.root.sys.create_or_update_policy(name, policy(rules.sections(scope_of(catalogue, HubPlaces()), rules.AUDITOR)))
    login.write_text(lab.root.auth.token.create(policies=[name], no_default_policy=True)["auth"]["client_token"])
    auditor = replace(opened, hub=VaultHub(HubSettings(lab.world.hub_address, login=TokenLogin(file=str(login)))))
    planned = plan(auditor)
    actions = {item.path: item.action for item in planned.items}
    assert actions == {same.path: Action.IN_SYNC, other.path: Action.NOT_COMPARED, new.path: Action.CREATE}
    assert planned.trouble == ()
    assert {item.action for item in plan(auditor, [same.path], deep=True).items} == {Action.NOT_COMPARED}
    assert {item.action for item in plan(opened, [other.path]).items} == {Action.UPDATE}


def test_a_secret_newer_than_the_hubs_policy_is_unknown_with_the_command_and_no_other_copy_is_missing(
    lab: Lab, tmp_path: Path
) -> None:
    memory, store = MemoryStore("memory"), {"kind": "aws-secrets-manager", "region": REGION}
    old, new = (with_copy(lab.generated()) for _ in range(2))
    before, after = (
        Catalogue.model_validate(catalogue_data(lab.world, secrets, store, {})) for secrets in ((old,), (old, new))
    )
    opened = replace(open_workspace(after, lab.hub), open_store=lambda name: memory)
    rotate(opened, old.path, Trigger.FORCE)
    sync_destinations(opened, old.path)
    name, login = fresh(), tmp_path / "token"
    lab.root.sys.create_or_update_policy(name, policy(rules.sections(scope_of(before, HubPlaces()), rules.WORKER)))
    login.write_text(lab.root.auth.token.create(policies=[name], no_default_policy=True)["auth"]["client_token"])
    worker = replace(opened, hub=VaultHub(HubSettings(lab.world.hub_address, login=TokenLogin(file=str(login)))))
    items = {item.path: item for item in plan(worker).items}
    assert (items[old.path].action, items[new.path].action) == (Action.IN_SYNC, Action.BLOCKED)
    assert items[new.path].kind == "Denied"
    assert "`keyturn setup hub --apply` does" in items[new.path].why
