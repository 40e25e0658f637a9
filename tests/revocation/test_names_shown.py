"""A password mistakenly entered into a visible field is not copied anywhere."""

import json
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from keyturn.cli.programs.hearing import Hearings
from keyturn.cli.secrets.secret_status import secret_status
from keyturn.core.errors import KeyturnError, Throttled
from keyturn.core.overrides import Waive
from keyturn.core.ports.strategies import RevokeResult
from keyturn.core.redaction import Discreet, ShownNames
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.revocation import run
from keyturn.revocation.incidents.incident import Mode
from keyturn.revocation.preview import preview_revocation
from keyturn.revocation.selector import Selection
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from tests.revocation.site import Site
from tests.support.lab import Declared, Lab

pytestmark = pytest.mark.sampled(3, of="file")


def wrong(site: Site, canary: str) -> None:
    """Somebody writes a new version, and takes one field for another."""
    current = site.lab.hub.read(site.secret.path)
    assert current
    changed = current.fields.merged({"username": canary})
    site.lab.hub.write(site.secret.path, changed, cas=current.version)


@pytest.mark.parametrize("kind", ["alternating", "single", "dynamic"])
@pytest.mark.parametrize("before_the_rotation", [True, False])
def test_a_password_in_the_username_is_in_no_message_record_report_or_ledger(
    lab: Lab, kind: str, before_the_rotation: bool
) -> None:
    secret: Declared = getattr(lab, kind)()
    site, canary, said = Site.of(lab, secret), f"hunter2-{secrets.token_urlsafe(12)}", list[str]()

    def doing(act: Callable[[], Any]) -> None:
        try:
            said.append(repr(act()))
        except KeyturnError as error:
            said.extend([str(error), repr(error), json.dumps(error.args, default=str)])

    if before_the_rotation:
        wrong(site, canary)
    doing(lambda: rotate(site.workspace, secret.path, Trigger.FORCE))
    if not before_the_rotation:
        wrong(site, canary)
    doing(lambda: retire(site.workspace, secret.path))
    doing(lambda: retire(site.at(timedelta(days=2)), secret.path, Waive.EVERYTHING))
    doing(lambda: rotate(site.workspace, secret.path, Trigger.FORCE))
    hearings = Hearings.load(site.workspace)
    doing(lambda: secret_status(site.workspace, secret.path, None, hearings))
    doing(lambda: secret_status(site.workspace, secret.path, None, hearings).to_data())
    doing(lambda: preview_revocation(site.workspace, Selection((secret.path,)), Mode.REPLACE))
    doing(lambda: site.begin(Mode.REPLACE, site.impatient()))
    doing(lambda: run.finish(site.impatient(), site.incident))
    doing(site.progress)
    said += [repr(entry) for entry in site.entries()]
    record = site.workspace.hub.read_state(f"incidents/{site.incident}/{secret.path}")
    said.append(repr(record.data if record else ""))
    assert len(said) > 10
    assert [line for line in said if canary in line] == []


def names(*declared: str) -> ShownNames:
    return ShownNames(declared, lambda text: "f1f2f3f4f5f6")


@pytest.mark.parametrize(
    ("field", "text", "shown"),
    [
        ("username", "ml_trainer_a", True),
        ("username", "somebody_else", True),
        ("username", "Hunter2", False),
        ("username", "correct-horse", False),
        ("username", "x" * 64, False),
        ("username", "v-approle-ml-reade-Cs2RpMYd0FIl8v9oYjbq-1764198000", True),
        ("username", "hvs.CAESIJ0Q9", False),
        ("lease_id", "database/creds/ml-reader/Cs2RpMYd0FIl8v9oYjbqAAAA", True),
        ("lease_id", "pass word", False),
        ("access_key_id", "AKIAIOSFODNN7EXAMPLE", True),
        ("serial", "3a:0b:11", True),
        ("password", "ml_trainer_b", False),
    ],
)
def test_a_name_is_shown_where_it_is_declared_or_made_by_a_service(field: str, text: str, shown: bool) -> None:
    assert names("ml_trainer_a").may_show(field, text) is shown
    said = names("ml_trainer_a").shown(field, text)
    assert said == (text if shown else "(not shown, fingerprint f1f2f3f4f5f6)")


class Talkative:
    """A strategy that repeats what it was given in everything it says."""

    credential_fields = frozenset({"username", "password"})
    overlaps = True

    def accepts(self, credential: SecretFields) -> bool:
        name = credential["username"].reveal()
        raise Throttled(f"log in as {name}", f"pg:{name}", f"{name} is busy", f"Ask {name} in db.internal", 5)

    def in_use(self, credential_id: dict[str, str], since: object) -> list[str]:
        return [f"pg:{credential_id['username']} has 3 open sessions"]

    def revoke(self, credential: SecretFields, sequence: int) -> RevokeResult:
        return RevokeResult(1, (f"a token of {credential['username'].reveal()}",))

    def credential_id(self, current: SecretFields) -> dict[str, str]:
        return {"username": current["username"].reveal()}


@pytest.mark.parametrize("text", ["Hunter2", "$ecret (with) [marks]", "x" * 64, "aBc"])
def test_whatever_a_strategy_says_is_cleaned_and_what_it_works_with_is_not(text: str) -> None:
    strategy: Any = Discreet(Talkative(), lambda: names("ml_trainer_a"))  # type: ignore[arg-type]
    fields = SecretFields({"username": text, "password": "p4ssw0rd", "host": "db.internal"})
    with pytest.raises(Throttled) as caught:
        strategy.accepts(fields)
    assert caught.value.retry_after == 5
    assert "db.internal" in caught.value.hint
    said = f"{caught.value!r} {caught.value} {strategy.in_use({'username': text}, None)} {strategy.revoke(fields, 1)}"
    assert text not in said
    assert said.count("fingerprint f1f2f3f4f5f6") >= 6
    assert strategy.credential_id(fields) == {"username": text}
    assert strategy.overlaps
    assert strategy.in_use({"username": "ml_trainer_a"}, None) == ("pg:ml_trainer_a has 3 open sessions",)
