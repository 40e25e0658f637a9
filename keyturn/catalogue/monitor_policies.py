"""Combines a catalogue's monitors to policies by principal and secret."""

import os
from collections.abc import Collection, Mapping
from typing import Any

from keyturn.access_log.detection.policy import MonitorPolicy, Tuning
from keyturn.access_log.detection.rules.registry import rule_class
from keyturn.catalogue.choice import Classification
from keyturn.catalogue.models import Catalogue
from keyturn.catalogue.monitors import DetectionRuleSettings, MonitorSettings, thousandths
from keyturn.core.ports.own_login import role_principals


class DeclaredPolicies:
    """The policies of a catalogue's monitors: one with more conditions takes precedence.

    On a tie, the later name wins. Equal answers are the same object. ``own`` are Keyturn's principals: they may read
    decoys, count as readers of every secret, and end revoked ones.
    """

    def __init__(
        self, monitors: Mapping[str, MonitorSettings], catalogue: Catalogue, own: Collection[str] | None = None
    ) -> None:
        self._catalogue = catalogue
        self._own = role_principals(os.environ) if own is None else frozenset(own)
        self._monitors = sorted(monitors.items(), key=lambda named: (named[1].conditions, named[0]))
        self._made: dict[tuple[bool, bool, bool, tuple[str, ...]], MonitorPolicy] = {}

    def policy(self, principal: str, path: str) -> MonitorPolicy:
        secret = self._catalogue.secrets.get(path)
        about = secret.about if secret else None
        fitting = [
            (name, monitor)
            for name, monitor in self._monitors
            if monitor.means(principal, path, about, self._catalogue.mounts)
        ]
        restricted = bool(about and about.classification == Classification.RESTRICTED)
        decoy, own = bool(secret and secret.decoy), principal in self._own
        key = (restricted, decoy, own, tuple(name for name, _ in fitting))
        if key not in self._made:
            self._made[key] = merge([monitor for _, monitor in fitting], restricted=restricted, decoy=decoy, own=own)
        return self._made[key]


def merge(
    monitors: list[MonitorSettings], *, restricted: bool, decoy: bool = False, own: bool = False
) -> MonitorPolicy:
    """The combined policy, in which later monitors take precedence; ``own`` means a principal of Keyturn."""
    changes: dict[str, Any] = {"restricted": restricted, "decoy": decoy and not own, "own": own}
    tunings: dict[str, Tuning] = {}
    for monitor in monitors:
        changes |= monitor.changes()
        for name, settings in (monitor.rules or {}).items():
            tunings[name] = _tuned(tunings.get(name) or rule_class(name).tuning, settings)
    if own:
        changes["readers"] = ()
    return MonitorPolicy(**changes, tunings=tunings)


def _tuned(tuning: Tuning, settings: DetectionRuleSettings) -> Tuning:
    weight = tuning.weight if settings.weight is None else thousandths(settings.weight)
    return Tuning(
        weight, settings.count or tuning.count, settings.within or tuning.within, settings.react or tuning.react
    )
