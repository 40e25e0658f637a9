"""Runs flows in a process of its own, as a command line would at its most talkative, and keeps what it made.

``python -m tests.flows.leak_child`` reads a job from its input: ``runs`` are a flow's name and its arguments,
``commands`` what is typed after ``keyturn``, ``made`` the file that gets every value that was generated, ``told``
the one that gets how each run and each command ended.
"""

import asyncio
import json
import sys
import traceback
from pathlib import Path
from typing import Any

from flows import emergency
from flows.backup import backup
from flows.check_hub import check_hub
from flows.check_logins import check_logins
from flows.compliance_report import compliance_report
from flows.doctor import doctor
from flows.drill import drill
from flows.emergency import emergency_revoke
from flows.finish_incidents import finish_incidents
from flows.grant_access import grant_access
from flows.keep_ledger import keep_ledger
from flows.preview_revocation import preview_revocation
from flows.rehearse import rehearse
from flows.renew_authorities import renew_authorities
from flows.restore_drill import restore_drill
from flows.resume_incident import resume_incident
from flows.retire import retire
from flows.rotate import rotate_secret
from flows.rotate_due import rotate_due
from flows.rotate_keys import rotate_keys
from flows.rotate_own_keys import rotate_own_keys
from flows.sync import sync
from keyturn.cli.app import app
from keyturn.core.errors import KeyturnError
from keyturn.core.sensitive import Sensitive
from keyturn.core.text.passwords import PasswordPolicy
from keyturn.keys import webhook_keys
from keyturn.strategies import database_users, generated

FLOWS: dict[str, Any] = {
    "rotate": rotate_secret,
    "rotate-due": rotate_due,
    "check-logins": check_logins,
    "check-hub": check_hub,
    "doctor": doctor,
    "drill": drill,
    "rotate-own-keys": rotate_own_keys,
    "rotate-keys": rotate_keys,
    "renew-authorities": renew_authorities,
    "sync": sync,
    "retire": retire,
    "emergency-revoke": emergency_revoke,
    "preview-revocation": preview_revocation,
    "resume-incident": resume_incident,
    "finish-incidents": finish_incidents,
    "grant-access": grant_access,
    "keep-ledger": keep_ledger,
    "backup": backup,
    "restore-drill": restore_drill,
    "rehearse": rehearse,
    "compliance-report": compliance_report,
}


def main() -> None:
    """Run all of it, and say all that can be said."""
    job = json.load(sys.stdin)
    emergency.PAUSES = (0.5,)  # type: ignore[misc,assignment]
    made = note_what_is_made()
    told = [run(name, arguments) for name, *arguments in job["runs"]]
    told += [command(words) for words in job["commands"]]
    Path(job["made"]).write_text(json.dumps(made))
    Path(job["told"]).write_text(json.dumps(told))


def note_what_is_made() -> list[str]:
    """Candidates that are given up are nowhere afterwards: they are noted where they are made."""
    made: list[str] = []
    for module in (database_users, generated):
        generate = module.generate

        def noting(policy: PasswordPolicy, generate: Any = generate) -> Sensitive:
            value: Sensitive = generate(policy)
            made.append(value.reveal())
            return value

        module.generate = noting  # type: ignore[attr-defined]
    module_of_keys: Any = webhook_keys
    generate_key = module_of_keys.generate_webhook_key

    def noting_key() -> Sensitive:
        key: Sensitive = generate_key()
        made.append(key.reveal())
        return key

    module_of_keys.generate_webhook_key = noting_key
    return made


def run(name: str, arguments: list[Any]) -> str:
    """Run one flow and print whatever comes of it; its end in short."""
    try:
        returned = asyncio.run(FLOWS[name](*arguments))
    except KeyturnError as error:
        traceback.print_exc()
        print(repr(error), vars(error))  # noqa: T201
        return f"{type(error).__name__}: {error}"
    print(repr(returned), str(returned))  # noqa: T201
    return "completed"


def command(words: list[str]) -> str:
    """Run one command of ``keyturn``, which prints for itself; its exit code."""
    try:
        app(words, prog_name="keyturn")
    except SystemExit as ended:
        return str(ended.code or 0)
    return "0"


if __name__ == "__main__":
    main()
