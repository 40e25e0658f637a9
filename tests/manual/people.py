"""The people of the temporary access guide: a requester, two approvers and a granter."""

import json
import re
import shlex
from collections.abc import Callable
from typing import Final

from rich.console import Console

from keyturn.cli.local_stack import FOREIGN
from local import environment
from local.demo_access import Session
from tests.manual.site import PATIENCE, Site
from tests.support.hooks import eventually

REQUEST: Final = "AR-3f9a1c07d2e4"
"""The request of the page."""
ASKING: Final = "keyturn access request ml-training/database --for 30m --purpose 'a query hangs' --json"


def session_of(site: Site) -> Session:
    """The people of the page, who are enrolled with it."""
    made = site.hidden["session"]
    assert isinstance(made, Session)
    return made


def come(site: Site) -> None:
    """Three people with a login and rights of their own, ana first, and `keyturn serve` that gives what they approve.

    Whatever gave access before them has ended: one process gives, as long as it has the lease.
    """
    session = Session(Console(quiet=True), site.stack, site.directory / "access")
    session.prepare()
    site.hidden["session"] = session
    for name, key in session.keys.items():
        site.replaced[f"{name}=KEY"] = f"{name}={key}"
    site.beside.enter_context(session.giving())
    by("ana")(site)


def by(name: str, *steps: Callable[[Site], None]) -> Callable[[Site], None]:
    """From here on somebody else types, after these steps."""

    def sits_down(site: Site) -> None:
        for step in steps:
            step(site)
        site.env |= session_of(site).variables(name) | {"PATH": site.env["PATH"]}

    return sits_down


def asked_for(site: Site, output: str) -> None:
    """The request that the page goes on with has this name here."""
    (name,) = set(re.findall(r"AR-[0-9a-f]{12}", output))
    site.replaced |= {REQUEST: name, f"approve {REQUEST}": f"approve {name} --yes"}


def another(site: Site) -> None:
    """A request like the page's, since that one is over by now."""
    by("ana")(site)
    asked_for(site, json.loads(site.does(ASKING))["id"])


def approved(site: Site) -> None:
    """Bea and cleo agree to it."""
    for name in ("bea", "cleo"):
        by(name)(site)
        site.does(site.here(f"keyturn access approve {REQUEST}"))


def ended(site: Site) -> None:
    """What was given has ended."""
    by("bea")(site)
    assert eventually(lambda: state_of(site) == "ended", PATIENCE), state_of(site)


def state_of(site: Site) -> str:
    """Where the page's request stands."""
    return str(json.loads(site.does(site.here(f"keyturn access show {REQUEST} --json")))["state"])


def signed(site: Site) -> None:
    """A checkpoint covers what was done by now; the notary of the stack signs it, whoever sits here."""
    at_stack(site)
    site.does("keyturn ledger checkpoint")


def at_stack(site: Site) -> None:
    """Nobody's login but the stack's own."""
    for name in ("VAULT_TOKEN", "VAULT_ADDR", "KEYTURN_CATALOGUE", "KEYTURN_POLICY"):
        site.env.pop(name, None)


def nowhere(site: Site) -> None:
    """An auditor's machine, from which no server is reached."""
    at_stack(site)
    site.env = {name: text for name, text in site.env.items() if not name.startswith(FOREIGN)}
    site.env |= {"KEYTURN_HOME": str(site.directory / "nowhere")}


def at_database(site: Site) -> None:
    """In the place of the page's psql, which has no TLS here, another program of libpq asks the database who it is."""
    stack = site.stack
    where = f"host={stack.host('postgres')} port={stack.ports['postgres']} dbname=ml sslmode=verify-full"
    asking = f"import psycopg2; psycopg2.connect('{where} sslrootcert={environment.ca_file(stack)}')"
    site.replaced["psql -h db.example.com ml"] = f"python -c {shlex.quote(asking)}"
