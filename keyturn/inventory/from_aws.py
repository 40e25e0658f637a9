"""Convert rotations of AWS Secrets Manager: ``describe-secret`` and ``list-secrets``, as JSON.

Source: "Schedule expressions" and "Rotation function templates" in the user guide of AWS Secrets Manager.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from keyturn.core.schedule.cron import cron_flaw
from keyturn.inventory.conversion import Conversion, Json, text_at
from keyturn.inventory.drafting import DraftedPlace
from keyturn.inventory.proposals import Proposal
from keyturn.sync.import_secrets import path_for

DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def convert_aws(secret: Json, into: Conversion) -> None:
    name, arn = text_at(secret, "Name"), text_at(secret, "ARN")
    if owner := text_at(secret, "OwningService"):
        into.leave_out(f"aws:{name}", f"{owner} manages it, and AWS rotates it by itself: leave it there")
        return
    if not secret.get("RotationEnabled"):
        into.leave_out(f"aws:{name}", "AWS does not rotate it: take it over with `keyturn import`")
        return
    region = arn.split(":")[3] if arn.count(":") >= 6 else ""
    store = store_of(region, into)
    made = into.secret(path_for(name))
    question = (
        f"AWS rotates it: end that (aws secretsmanager cancel-rotate-secret --secret-id {name}), bring the value to the"
        f" hub (keyturn import {store} {name}), then take this line"
    )
    made.places.append(DraftedPlace(store, name, question=question))
    function = text_at(secret, "RotationLambdaARN").rpartition(":")[2]
    made.notes.append(f"AWS has rotated it by {function or 'its own function'}")
    made.proposal = proposal_of(function, secret.get("RotationRules"))


def store_of(region: str, into: Conversion) -> str:
    if not region:
        return "aws"
    for name, settings in into.stores.items():
        if settings.get("region") == region and settings["kind"] == "aws-secrets-manager":
            return name
    name = f"aws-{region}" if "aws" in into.stores else "aws"
    into.stores[name] = {"kind": "aws-secrets-manager", "region": region}
    return name


def proposal_of(function: str, rules: Any) -> Proposal:
    times, asks = times_of(rules if isinstance(rules, Mapping) else {})
    squeezed = function.casefold()
    if "multiuser" in squeezed or "multi-user" in squeezed:
        rotation: dict[str, Any] = {
            "strategy": "alternating-users",
            "target": "TARGET",
            "users": ["USER", "USER_clone"],
        }
        rotation |= {"owner_role": "OWNER", **times}
        reason = f"{function} alternates two users, the second of which it calls USER_clone"
        asks += ("TARGET, USER and OWNER: which server, which user, and which role without login are both members of?",)
        return Proposal(reason, rotation, asks)
    if "singleuser" in squeezed or "single-user" in squeezed:
        rotation = {"strategy": "single-user", "target": "TARGET", "user": "USER", "accepts_gap": True, **times}
        reason = f"{function} changes the password of one user in place"
        return Proposal(reason, rotation, (*asks, "TARGET and USER: which server, and which user?"))
    every = " ".join(f"{key}: {value}" for key, value in times.items())
    what = f"what does the function {function} do? docs/strategies says which strategy does the same"
    return Proposal(f"AWS's times are {every}", questions=(*asks, what))


def times_of(rules: Json) -> tuple[dict[str, Any], tuple[str, ...]]:
    schedule = text_at(rules, "ScheduleExpression")
    if match := re.fullmatch(r"rate\((\d+) (hours?|days?)\)", schedule):
        return interval(int(match[1]), match[2][0]), ()
    if match := re.fullmatch(r"cron\((.+)\)", schedule):
        cron = cron_of(match[1])
        if cron:
            return {"cron": cron, "timezone": "UTC", "grace": "1h"}, ()
        return interval(30, "d"), (f"AWS's schedule {schedule} has no equal here: how often is it to be?",)
    days = rules.get("AutomaticallyAfterDays")
    if isinstance(days, int) and days > 0:
        return interval(days, "d"), ()
    return interval(30, "d"), ("AWS has no schedule for it: how often should it rotate?",)


def interval(number: int, unit: str) -> dict[str, Any]:
    grace = "1d" if unit == "d" and number > 1 else "1h" if number > 1 or unit == "d" else "15m"
    return {"interval": f"{number}{unit}", "grace": grace}


def cron_of(expression: str) -> str:
    """Return AWS's six fields as the catalogue's five; empty where these can't express them."""
    fields = expression.split()
    if len(fields) != 6 or fields[5] != "*":
        return ""
    minute, hour, day, month, weekday, _ = (field.replace("?", "*").casefold() for field in fields)
    parts = [re.sub(r"^0/", "*/", part) for part in (minute, hour, day, month)]
    # In `2#1` (the first Monday) and `6L` (the last Friday), the day's number also counts from 1.
    days = re.sub(r"(?<![#/\d])[1-7](?!\d)", _weekday, weekday)
    cron = " ".join([*parts, re.sub(r"(sun|mon|tue|wed|thu|fri|sat)l$", _last, days)])
    return "" if cron_flaw(cron) else cron


def _last(match: re.Match[str]) -> str:
    return f"{DAYS.index(match[1])}L"


def _weekday(match: re.Match[str]) -> str:
    return DAYS[int(match[0]) - 1]
