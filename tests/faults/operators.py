"""One secret, its copy in a cloud, and what people do to them behind Keyturn's back."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from secrets import token_urlsafe
from typing import Any, Final

from botocore.exceptions import ClientError
from hvac.exceptions import InvalidPath

from keyturn.catalogue import Catalogue
from keyturn.core.errors import Invalid, KeyturnError
from keyturn.core.overrides import Waive
from keyturn.core.rotation_record import Record
from keyturn.core.schedule.due import Trigger
from keyturn.core.sensitive import SecretFields
from keyturn.revocation import run
from keyturn.revocation.incidents.consent import Consent
from keyturn.revocation.incidents.incident import IncidentStatus, Mode
from keyturn.revocation.selector import Selection
from keyturn.rotation.copies.push import sync_destinations
from keyturn.rotation.outcome import unsettled
from keyturn.rotation.repair.recover import choose, recover
from keyturn.rotation.repair.recoverable_values import values
from keyturn.rotation.retire import retire
from keyturn.rotation.run import rotate
from keyturn.rotation.state.context import Workspace
from keyturn.wiring.registry import open_workspace
from tests.crash.kinds import Kind
from tests.crash.kinds.caches import RedisUser
from tests.crash.kinds.clouds import IamKey
from tests.crash.kinds.databases import OnMariaDB
from tests.crash.site import Site
from tests.support.clock import Clock
from tests.support.lab import LOOSE, Declared, catalogue_data, fresh, load_whole

STRATEGIES: Final = (
    "alternating-users, PostgreSQL",
    "alternating-users, MariaDB",
    "redis-acl",
    "vault-dynamic, PostgreSQL",
    "aws-iam-key",
    "generated",
)

MESSAGES: Final = 6
"""So many of them a person follows at most before all is right."""

STORE = "memory"
"""What the lab's catalogues call their one store; here it is the local cloud."""


@dataclass
class Case:
    """A fresh secret in force, with its copy in step.

    ``known`` are all the credentials that it has had, each with the names of what changes alone; ``said`` is what
    Keyturn has told people.
    """

    site: Site
    kind: Kind
    secret: Declared
    workspace: Workspace
    clock: Clock
    known: list[SecretFields] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    old_path: str = ""

    @staticmethod
    def of(site: Site, kind: Kind) -> "Case":
        """Made, and carried to the store."""
        made = kind.make(site)
        secret = made.having(destinations=[{"store": STORE, "name": made.path.replace("/", "-")}], consumers=[])
        clock = Clock()
        case = Case(site, kind, secret, opened(site, clock, secret), clock)
        case.note()
        sync_destinations(case.workspace, secret.path)
        assert case.copy() == case.current()
        return case

    @property
    def path(self) -> str:
        """Where it is in the hub."""
        return self.secret.path

    @property
    def remote(self) -> str:
        """The name of its copy."""
        return str(self.secret.data["destinations"][0]["name"])

    # --- what is there

    def current(self) -> SecretFields | None:
        """What the hub serves."""
        found = self.site.lab.hub.read(self.path)
        return found.fields if found else None

    def copy(self) -> SecretFields | None:
        """What the store serves."""
        try:
            text = self.site.cloud.get_secret_value(SecretId=self.remote)["SecretString"]
        except ClientError as error:
            if error.response["Error"]["Code"] in ("ResourceNotFoundException", "InvalidRequestException"):
                return None
            raise
        return SecretFields(json.loads(text))

    def lives(self, fields: SecretFields | None) -> bool:
        """Whether what an application reads lets it in; what names no credential does not."""
        names = self.kind.changes & set(self.known[0] if self.known else fields or ())
        return fields is not None and set(fields) >= names and self.kind.works(self.site, fields)

    def note(self) -> None:
        """Remember what is in force, or waits for it, so that it can be tried later."""
        try:
            candidate = self.record().candidate
        except Invalid:  # somebody has written into it
            candidate = None
        for fields in (self.current(), candidate and self.secret_with(candidate)):
            if fields and fields not in self.known:
                self.known.append(fields)

    def secret_with(self, candidate: SecretFields) -> SecretFields:
        """The whole secret, were the candidate in force."""
        return SecretFields(self.secret.first).merged(candidate)

    def record(self) -> Record:
        """What the hub keeps of its rotation."""
        return load_whole(self.workspace, self.path)

    # --- what Keyturn does; its last word is what it said or raised

    def told(self, work: Callable[[], Any]) -> str:
        """Run a command's work; what it says is wrong, empty where nothing is."""
        before = self.copy()
        served = self.lives(before)
        self.note()
        try:
            done = work()
        except KeyturnError as error:
            said = str(error)
        else:
            said = word_of(done)
        self.note()
        self.said.append(said)
        if served and self.kind.refuses:
            self.insist_on_serving(before)
        return said

    def insist_on_serving(self, before: SecretFields | None) -> None:
        """Never a dead value over a living one."""
        after = self.copy()
        if after != before:
            assert self.lives(after), "the copy worked, and now it serves a dead value"

    def rotate(self, trigger: Trigger = Trigger.FORCE, **more: Any) -> str:
        """Replace it, by a person's wish unless another ``trigger`` is given."""
        return self.told(lambda: rotate(self.workspace, self.path, trigger, **more))

    def rotate_with_room(self) -> None:
        """Replace it by a person's wish, who makes room for another key first where the message asks for that."""
        if said := self.rotate(end_previous=True):
            assert "no room for another key" in said, self.said
            self.delete_other_keys()
            assert self.rotate(end_previous=True) == "", self.said

    def retire(self, waive: Waive = Waive.NOTHING) -> str:
        """End the old credential on evidence."""
        return self.told(lambda: retire(self.workspace, self.path, waive))

    def recover(self) -> str:
        """Bring the newest value that works back into the hub; what nobody can try, by a person's wish."""

        def work() -> object:
            found = values(self.workspace, self.path)
            return recover(self.workspace, found, choose(found, untested=not self.kind.refuses))

        return self.told(work)

    def sync(self) -> str:
        """Carry CURRENT to the copy."""
        return self.told(lambda: sync_destinations(self.workspace, self.path))

    def scheduled(self) -> str:
        """What the schedules do, and all that they say is wrong."""
        return "\n".join(filter(None, (self.sync(), self.rotate(Trigger.SCHEDULE), self.retire())))

    def revoke(self, mode: Mode = Mode.REPLACE, incident: str = "") -> IncidentStatus:
        """All of it; a closed incident claims that what was known before is over."""
        self.note()
        doomed, workspace = list(self.known), replace(self.workspace, sleep=lambda seconds: None)
        begun = run.begin(
            workspace,
            Selection((self.path,)),
            incident=incident or f"INC-{fresh()}",
            reason="leaked in a log",
            mode=mode,
            selector=self.path,
            triggered_at=self.clock(),
            consent=Consent(1),
        )
        standing = run.finish(workspace, begun.id)
        self.note()
        if not standing.open:
            assert [one for one in doomed if self.kind.refuses and self.lives(one)] == [], "proven, and it logs in"
            self.insist_on_clean_hub(doomed)
        return standing

    def insist_on_clean_hub(self, doomed: list[SecretFields]) -> None:
        """No version that the hub gives, or would give back, holds what has leaked."""
        hub = self.site.lab.hub
        info = hub.describe(self.path)
        numbers = [one.version for one in info.versions] if info else []
        self.undelete()
        found = [hub.read(self.path, number) for number in numbers]
        assert [one.version for one in found if one and one.fields in doomed] == []

    # --- what people do

    def kv(self, verb: str, **more: Any) -> None:
        """One call of hvac's KV v2 about the secret."""
        getattr(self.site.lab.root.secrets.kv.v2, verb)(path=self.path, **more)

    def delete(self, *versions: int) -> None:
        """``vault kv delete``."""
        self.kv("delete_secret_versions", versions=list(versions or (self.newest(),)))

    def destroy(self, *versions: int) -> None:
        """``vault kv destroy``."""
        self.kv("destroy_secret_versions", versions=list(versions or (self.newest(),)))

    def remove(self) -> None:
        """``vault kv metadata delete``."""
        self.kv("delete_metadata_and_all_versions")

    def forget_record(self) -> None:
        """Somebody cleans up in Keyturn's own mount."""
        kv = self.site.lab.root.secrets.kv.v2
        try:
            kv.delete_metadata_and_all_versions(path=f"rotations/{self.path}", mount_point="keyturn")
        except InvalidPath:
            return

    def newest(self) -> int:
        """The newest version's number."""
        info = self.site.lab.hub.describe(self.path)
        assert info is not None
        return info.version

    def put(self, fields: SecretFields) -> None:
        """``vault kv put``, whatever stands there."""
        info = self.site.lab.hub.describe(self.path)
        self.site.lab.hub.write(self.path, fields, cas=info.version if info else 0)

    def change_at_target(self) -> None:
        """A DBA gives the account that serves another password."""
        current = self.current() or self.known[-1]
        user, password = current["username"].reveal(), token_urlsafe(24)
        if isinstance(self.kind, OnMariaDB):
            self.kind.lab.sql(f"ALTER USER {user} IDENTIFIED BY %s", password)
        elif isinstance(self.kind, RedisUser):
            self.kind.acl.ask("ACL SETUSER", user, "resetpass", f">{password}")
        else:
            self.site.lab.sql(f"ALTER ROLE \"{user}\" PASSWORD '{password}'")

    def undelete(self) -> None:
        """``vault kv undelete`` of whatever can be had."""
        info = self.site.lab.hub.describe(self.path)
        if info and info.versions:
            self.kv("undelete_secret_versions", versions=[one.version for one in info.versions])

    def edit_copy(self) -> None:
        """Somebody writes something else into the copy, where there is one."""
        with suppress(self.site.cloud.exceptions.ResourceNotFoundException):
            self.site.cloud.put_secret_value(SecretId=self.remote, SecretString='{"value": "by hand"}')

    def delete_other_keys(self) -> None:
        """Somebody deletes each access key of the user but that of CURRENT, as the message asks."""
        kind, current, user = self.kind, self.current(), self.secret.data["rotation"]["user"]
        assert isinstance(kind, IamKey)
        assert current is not None
        for key in kind.iam.list_access_keys(UserName=user)["AccessKeyMetadata"]:
            if key["AccessKeyId"] != current["access_key_id"].reveal():
                kind.iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])

    def passes(self, **time: float) -> None:
        """So much time goes by."""
        self.clock.advance(timedelta(**time))

    @contextmanager
    def renamed(self) -> Iterator[None]:
        """Somebody gives it another path in the catalogue; its copy keeps its name."""
        secret = replace(self.secret, path=f"{self.path}-renamed")
        self.old_path = self.path
        with self.edited(secret, secret):
            yield

    @contextmanager
    def taken_out(self) -> Iterator[None]:
        """Somebody removes its entry; another secret at the same target stays."""
        with self.edited(self.secret, self.kind.make(self.site)):
            yield

    @contextmanager
    def edited(self, secret: Declared, declared: Declared) -> Iterator[None]:
        """The catalogue declares that one now, and the case is about ``secret``."""
        before = self.secret, self.workspace
        self.secret, self.workspace = secret, opened(self.site, self.clock, declared)
        try:
            yield
        finally:
            self.secret, self.workspace = before

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait for the hub, for a few seconds at most."""
        deadline = time.monotonic() + 10
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def mend(self) -> None:
        """A person comes, gives back what was deleted, rotates, and does what the messages say."""
        self.undelete()
        for _ in range(MESSAGES):
            said = self.rotate(end_previous=True)
            if not said:
                break
            self.follow(said)
        self.retire(Waive.EVERYTHING)
        assert self.sync() == "", self.said

    def follow(self, said: str) -> None:
        """Do what one message says."""
        info = self.site.lab.hub.describe(self.path)
        readable = [one.version for one in info.versions if one.readable] if info else []
        if "--from" in said and readable:
            self.rotate(ground=readable[-1], end_previous=True)
        elif "keyturn repair recover" in said and "vault kv put" in self.recover():
            self.put(self.known[0])

    # --- what must hold at the end

    def assert_serving(self) -> None:
        """CURRENT works, and the copy holds it."""
        current = self.current()
        assert current is not None, self.said
        assert self.lives(current), self.said
        assert self.copy() == current, self.said

    def assert_right(self) -> None:
        """The same, and once the old credential is retired nothing else lets anybody in."""
        self.assert_serving()
        current = self.current()
        assert current is not None
        others = [one for one in self.known if one.reveal() != current.reveal() and self.same_account_lives(one)]
        waiting = self.record().retiring
        assert not others or waiting, self.said

    def same_account_lives(self, fields: SecretFields) -> bool:
        """Whether an older credential still lets somebody in, that CURRENT's fields don't hold as well."""
        current = self.current()
        changed = {name: value for name, value in fields.reveal().items() if name in self.kind.changes}
        if current is not None and current.holds(SecretFields(changed)):
            return False
        return self.kind.refuses and self.lives(fields)


def word_of(done: Any) -> str:
    """What a command would say is wrong after this result."""
    if isinstance(done, list):
        return "; ".join(f"{one.store}:{one.name} {one.error or one.state}" for one in done if not one.in_step)
    if hasattr(done, "held_by"):
        return "; ".join(done.held_by)
    if hasattr(done, "destinations"):
        wrong = unsettled(done)
        return str(wrong) if wrong else done.message if str(done.state) == "held" else ""
    return ""


def opened(site: Site, clock: Clock, *secrets: Declared) -> Workspace:
    """A Keyturn over these secrets and the local cloud."""
    catalogue = Catalogue.model_validate(catalogue_data(site.lab.world, secrets, site.store, site.consumers))
    return replace(open_workspace(catalogue, site.lab.hub), clock=clock, limits=LOOSE)
