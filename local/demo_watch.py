"""The last act of the demonstration: who read what is told, odd reads are alarms, and a report has all of it."""

import asyncio
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

import hvac
from rich.panel import Panel

from keyturn.core.errors import NotFound
from local.demo_leak import Stage, command, show
from local.pager import Pager
from local.prepare import CONSUMER, Hub, hub_of
from local.services import DECOY_SECRET

PATIENCE: Final = 60.0
"""Seconds within which the person on call has to hear of a read."""
FRAMEWORK: Final = "fedramp-ksi"
REPORTS: Final = "reports"
"""The directory of the report, in the stack's own."""
OWN: Final = "demonstration"
RIGHTS: Final = """
path "secret/*" { capabilities = ["read", "list"] }
path "keyturn/data/*" { capabilities = ["create", "read", "update"] }
"""


class WatchedStage(Stage, Protocol):
    """The same, with the person on call."""

    pager: Pager


@dataclass(frozen=True)
class Intruder:
    """Somebody who reads what is not theirs: with which policy, which secret, and the rule that finds it odd."""

    name: str
    words: str
    policy: str
    path: str
    rule: str

    def look(self, hub: Hub, stamp: str) -> str:
        """Read it once, with a login of their own; as whom, by the hub's audit log."""
        name = f"{self.name}-{stamp}"
        hvac_client(hub, name, self.policy).secrets.kv.v2.read_secret_version(self.path, raise_on_deleted_version=True)
        return f"token-{name}"


INTRUDERS: Final = (
    Intruder("intern", "with the hub's root policy", "root", "ml-training/api-keys", "root-token"),
    Intruder("thief", "with an application's rights, from a decoy", CONSUMER, DECOY_SECRET, "decoy"),
)


def hvac_client(hub: Hub, name: str, policy: str) -> hvac.Client:
    """A login of that name with that policy, for an hour."""
    made = hub.client.auth.token.create(policies=[policy], display_name=name, ttl="1h", no_parent=True)
    return hvac.Client(url=hub.client.url, token=made["auth"]["client_token"], verify=hub.ca_file or True)


def own_client(hub: Hub) -> hvac.Client:
    """The demonstration's own login, which may look at secrets: what the root token reads is an alarm."""
    hub.client.sys.create_or_update_policy(OWN, RIGHTS)
    return hvac_client(hub, OWN, OWN)


async def watch(stage: WatchedStage) -> bool:
    """Read what is odd, and a decoy: whether both were heard of and are in the trail, and a report could be made."""
    stage.say("Who read what: each read is in the access trail within seconds, and an odd one is reported at once")
    stamp = f"{time.time():.0f}"
    heard = [await asyncio.to_thread(hear, stage, intruder, stamp) for intruder in INTRUDERS]
    shown = await asyncio.to_thread(tell, stage, stamp)
    reported = await asyncio.to_thread(report, stage)
    words = (
        "reported, and shown by `keyturn investigate`" if all(heard) and shown else "NOT reported, or not in the trail"
    )
    return stage.result(all(heard) and shown, f"two odd reads, by a root token and of a decoy: {words}") and reported


def hear(stage: WatchedStage, intruder: Intruder, stamp: str) -> bool:
    """Whether people hear of what an intruder reads; shows what they are told."""
    principal, read_at = intruder.look(hub_of(stage.stack), stamp), time.monotonic()
    message = stage.pager.wait(PATIENCE, principal, intruder.rule)
    title = f"on call hears of it {time.monotonic() - read_at:.1f} s after the read"
    stage.console.print(f"  someone reads {intruder.path} {intruder.words}", style="bold")
    stage.console.print(Panel(message or "NO alert came", title=title if message else None, border_style="red"))
    return message is not None


def tell(stage: WatchedStage, stamp: str) -> bool:
    """Whether the trail tells of all of these reads; shows what it tells."""
    from keyturn.access_log.trail.investigation import investigate
    from keyturn.access_log.trail.period import Period

    who = f"token-*-{stamp}*"
    stage.console.print(f"  $ keyturn investigate '{who}' --from 1h", style="dim")
    done, text = command(stage, "investigate", who, "--from", "1h")
    show(stage, text)
    known = {event.path for event in investigate(stage.stack.directory("trail"), who, Period()).timeline}
    return done and known == {intruder.path for intruder in INTRUDERS}


def report(stage: WatchedStage) -> bool:
    """Whether a report could be made, and is as it was made; says where it lies."""
    day, directory = f"{datetime.now(UTC):%Y-%m-%d}", stage.stack.home / REPORTS
    arguments = ("report", "--framework", FRAMEWORK, "--from", day, "--to", day, "--html", "--json")
    stage.console.print(f"  $ keyturn {' '.join(arguments)}", style="dim")
    done, text = command(stage, *arguments, "--out", str(directory))
    if not done:
        show(stage, text)
        return False
    page = newest(directory)
    whole, text = command(stage, "report", "verify", str(page))
    if not whole:
        show(stage, text)
    stage.console.print(f"  {verdicts(page)}", style="bold")
    proofs = "all of its proofs hold" if whole else "it was CHANGED"
    return stage.result(whole, f"a compliance report; {proofs}: {page}")


def newest(directory: Path) -> Path:
    """The page that was written last. Raises NotFound."""
    pages = sorted(directory.glob(f"{FRAMEWORK}-*.html"), key=lambda page: page.stat().st_mtime)
    if not pages:
        raise NotFound("find", str(directory), "there is no report", "Run `KEEP=1 make demo` first")
    return pages[-1]


def verdicts(page: Path) -> str:
    """What the controls of a report came to."""
    document: dict[str, Any] = json.loads(page.with_suffix(".json").read_bytes())
    counted = ", ".join(f"{count} {verdict}" for verdict, count in document["verdicts"].items() if count)
    return f"of the report's {len(document['controls'])} controls: {counted}"
