"""A policy with its applicable rules, and the hours, checked once a minute."""

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from keyturn.access_log.detection.policy import MonitorPolicy
from keyturn.access_log.detection.reorder import NEVER
from keyturn.access_log.detection.rules.base import Rule, Trigger

ENDS_TOO: Final = ("decoy", "address-range")
"""Rules that judge the end of versions like reads, as those of the root policy do."""

MINUTE: Final = 60.0
SATURDAY: Final = 5


class Profile:
    """How one principal's accesses to some secrets are judged. Not thread-safe.

    ``outside`` is whether the last :meth:`settle` minute, ``since`` to ``until``, is outside the usual hours.
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
        """Check the zone's clock for this minute. Offsets are whole minutes."""
        self.since = at // MINUTE * MINUTE
        self.until = self.since + MINUTE
        local = datetime.fromtimestamp(self.since, self.zone)
        clock = local.hour * 60 + local.minute
        begin, end = self.policy.begin, self.policy.end
        self.outside = not (begin <= clock < end) if begin <= end else end <= clock < begin
