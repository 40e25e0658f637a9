"""A policy as it is asked for each access: the rules that can say anything at all, and the hour, told once a minute."""

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from keyturn.access_log.detection.policy import MonitorPolicy
from keyturn.access_log.detection.reorder import NEVER
from keyturn.access_log.detection.rules.base import Rule, Trigger

ENDS_TOO: Final = ("decoy", "address-range")
"""Rules that judge who ends a version as they do who reads one; so does what is triggered by the root policy."""

MINUTE: Final = 60.0
SATURDAY: Final = 5


class Profile:
    """How one principal's accesses to some secrets are judged. Used by one thread.

    ``outside`` says whether the minute that :meth:`settle` was last asked for is outside the usual hours; it reaches
    from ``since`` to ``until``.
    """

    __slots__ = (
        "always",
        "denied",
        "ended",
        "limit",
        "new_path",
        "novel",
        "outside",
        "policy",
        "returning",
        "root",
        "since",
        "until",
        "zone",
    )

    def __init__(self, policy: MonitorPolicy, rules: tuple[Rule, ...]) -> None:
        self.policy = policy
        self.limit = policy.limit
        self.zone = ZoneInfo(policy.zone)
        self.since = self.until = NEVER
        self.outside = False
        self.always, self.denied, self.new_path, self.root, self.returning, self.novel, ended = (
            tuple(rule for rule in rules if rule.trigger is trigger) for trigger in Trigger
        )
        self.ended = (*ended, *(rule for rule in rules if rule.name in ENDS_TOO))

    def settle(self, at: float) -> None:
        """Look at the clock of the zone: every offset from UTC is whole minutes, so this holds for all of it."""
        self.since = at // MINUTE * MINUTE
        self.until = self.since + MINUTE
        local = datetime.fromtimestamp(self.since, self.zone)
        clock = local.hour * 60 + local.minute
        begin, end = self.policy.begin, self.policy.end
        self.outside = not (begin <= clock < end) if begin <= end else end <= clock < begin
