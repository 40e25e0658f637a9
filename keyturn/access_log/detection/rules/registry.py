"""The list of rules. To add one, write its class and add a line."""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from keyturn.access_log.detection.history import History
    from keyturn.access_log.detection.peers import Peers
    from keyturn.access_log.detection.rules.base import Rule

RULES: Final[Mapping[str, str]] = {
    "failed-reads": "failed_reads.FailedReads",
    "slow-guessing": "slow_guessing.SlowGuessing",
    "enumeration": "enumeration.Enumeration",
    "first-restricted": "first_restricted.FirstRestricted",
    "other-reader": "single_access.OtherReader",
    "address-range": "single_access.AddressRange",
    "weekend": "single_access.Weekend",
    "root-token": "single_access.RootToken",
    "after-revocation": "single_access.AfterRevocation",
    "retired-version": "single_access.RetiredVersion",
    "dormant": "single_access.Dormant",
    "awakened": "single_access.Awakened",
    "decoy": "single_access.Decoy",
    "impossible-travel": "impossible_travel.ImpossibleTravel",
    "several-systems": "several_systems.SeveralSystems",
    "watched": "single_access.Watched",
    "moved-session": "moved_session.MovedSession",
    "self-granted": "single_access.SelfGranted",
    "mass-deletion": "mass_deletion.MassDeletion",
    "first-destroyed": "first_destroyed.FirstDestroyed",
    "unusual": "unusual.Unusual",
}
"""Rules by name. Their files are imported on demand."""


def rule_class(name: str) -> "type[Rule]":
    """The rule of that name."""
    module, _, kind = RULES[name].partition(".")
    rule: type[Rule] = getattr(import_module(f"keyturn.access_log.detection.rules.{module}"), kind)
    return rule


def make_rules(history: "History", peers: "Peers") -> "tuple[Rule, ...]":
    """Create one of each for a stream of accesses."""
    return tuple(rule_class(name)(history, peers) for name in RULES)
