"""The results of rotations and retirements as JSON, in names and short fingerprints, and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keyturn.core.error_codes import code_of_kind
from keyturn.core.errors import KeyturnError
from keyturn.core.fingerprint import shown
from keyturn.rotation.copies.push import CopyState, Pushed
from keyturn.rotation.outcome import Outcome, RunState
from keyturn.rotation.previous_targets import Retirement
from keyturn.rotation.rollout import Acknowledgement


def outcome_data(outcome: Outcome) -> dict[str, Any]:
    """One rotation."""
    return {
        "path": outcome.path,
        "state": str(outcome.state),
        "message": outcome.message,
        "previous": outcome.previous,
        "version": outcome.version,
        "fingerprint": shown(outcome.fingerprint),
        "destinations": [copy_data(copy) for copy in outcome.destinations],
        "consumers": [
            {
                "consumer": consumer.consumer,
                "error": consumer.error,
                "code": code_of_kind(consumer.kind),
                "kind": consumer.kind,
                "answers": consumer.answers,
            }
            for consumer in outcome.consumers
        ],
    }


def outcome_from(data: Mapping[str, Any]) -> Outcome:
    """The rotation in that JSON."""
    names = ("path", "message", "previous", "version", "fingerprint")
    return Outcome(
        **{name: data[name] for name in names},
        state=RunState(data["state"]),
        destinations=tuple(map(copy_from, data["destinations"])),
        consumers=tuple(map(consumer_from, data["consumers"])),
    )


def consumer_from(data: Mapping[str, Any]) -> Acknowledgement:
    """The consumer in that JSON."""
    return Acknowledgement(data["consumer"], data["error"], data.get("answers", True), data.get("kind", ""))


def copy_data(copy: Pushed) -> dict[str, Any]:
    """One destination."""
    return {
        "store": copy.store,
        "name": copy.name,
        "state": str(copy.state),
        "version": copy.version or None,
        "fingerprint": shown(copy.fingerprint),
        "error": copy.error,
        "kind": copy.kind,
        "code": code_of_kind(copy.kind),
    }


def copy_from(data: Mapping[str, Any]) -> Pushed:
    """The destination in that JSON."""
    state = CopyState(data["state"])
    words = data["version"] or 0, data["fingerprint"], data["error"], data.get("kind", "")
    return Pushed(data["store"], data["name"], state, *words)


@dataclass(frozen=True)
class OldCredential:
    """One old credential after a retirement: retired, kept or failed, and why."""

    path: str
    state: str
    why: str = ""
    kind: str = ""
    """The class of the error where it failed."""

    @staticmethod
    def of(path: str, result: Retirement | KeyturnError) -> "OldCredential":
        """From the result of a retirement."""
        if isinstance(result, KeyturnError):
            return OldCredential(path, "failed", result.text, type(result).__name__)
        return OldCredential(path, result.state, result.message)
