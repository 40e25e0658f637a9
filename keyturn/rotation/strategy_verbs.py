"""The steps of one rotation, addressed by names alone, so that each can run in a separate process."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from keyturn.catalogue.spreading import plain_places
from keyturn.core.errors import Conflict, KeyturnError
from keyturn.core.overrides import Waive
from keyturn.core.ports.conductor import Step, Verb
from keyturn.core.rotation_record import Rotation
from keyturn.core.schedule.due import Trigger
from keyturn.rotation import decide, steps
from keyturn.rotation.attempt import Attempt
from keyturn.rotation.copies import restarts
from keyturn.rotation.copies.push import Pushed, carry, known_places
from keyturn.rotation.decide import Decision, SecretStatus
from keyturn.rotation.preconditions import guard_destinations
from keyturn.rotation.previous_targets import Retirement, state_of_previous
from keyturn.rotation.repair.missing_current import lay_ground
from keyturn.rotation.repair.release_account import make_way
from keyturn.rotation.retire import retire
from keyturn.rotation.rollback import finish_rollback, insist_on_login, revertible, rollback
from keyturn.rotation.rollout import Acknowledgement, conclude, notify_consumer, pass_canary, unwell
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.journal import write_waiting
from keyturn.rotation.state.record_store import load_record


@dataclass
class Work:
    """The context of one secret's steps. ``whole``: one process runs all steps and keeps what it has read."""

    workspace: Workspace
    path: str
    whole: bool = False
    _status: SecretStatus | None = None
    _attempt: Attempt | None = None
    _promoted: Rotation | None = None

    @property
    def attempt(self) -> Attempt | None:
        """The rotation that the last step worked on, if any."""
        return self._attempt

    @property
    def version(self) -> int | None:
        """The version that the last step reported, if any."""
        return self._promoted.version if self._promoted else None

    def take(self, step: Step) -> Any:
        """Run a step of the protocol in this process."""
        return step.verb.body(self, *step.arguments, **step.options)

    def take_named(self, step: Step) -> Any:
        """Run a step; an error names the step and the secret."""
        try:
            return self.take(step)
        except KeyturnError as error:
            error.during(step.verb.name, self.path)
            raise

    def lay_ground(self, version: int, end_previous: bool) -> None:
        """Use this version's fields as the base of the next candidate, because CURRENT is missing."""
        lay_ground(self.workspace, self.path, version, end_previous=end_previous)

    def decide(self, trigger: Trigger) -> Decision:
        """Whether to rotate now, and why."""
        # With ``whole``, CURRENT is needed next where there is work.
        decision, self._status = decide.decide_on(self.workspace, self.path, trigger, reading=self.whole)
        return decision

    def decide_again(self, trigger: Trigger, decision: Decision) -> Decision | None:
        """After a candidate was refused: whether to make another."""
        return decide.decide_again(self.workspace, self.path, trigger, decision)

    def guard(self, decision: Decision) -> None:
        """Refuse to begin where a destination could not take a copy; changes nothing."""
        guard_destinations(self.workspace, self.path, urgent=decision.urgent, by_hand=decision.by_hand)

    def make_way(self, trigger: Trigger, token: str, end_previous: bool) -> Retirement:
        """Retire what rotation ``token`` left; with ``end_previous``, even if it is in use."""
        return make_way(self.workspace, self.path, trigger, token, end_previous=end_previous)

    def stage(self, decision: Decision) -> str:
        """Save a candidate as PENDING and return the rotation's token."""
        status, self._status = self._status if self.whole else None, None
        self._attempt = steps.stage(self.workspace, self.path, decision, status)
        return self._attempt.rotation.token

    def install(self, token: str) -> None:
        """Make the target accept the candidate; a refused candidate is abandoned."""
        steps.install(self.workspace, self._resumed(token))

    def verify(self, token: str) -> None:
        """Log in with the candidate; a refused candidate is abandoned."""
        steps.verify(self.workspace, self._resumed(token))

    def promote(self, token: str) -> Rotation:
        """Make the candidate CURRENT and return the rotation, in names."""
        self._promoted = steps.promote(self.workspace, self._resumed(token)).rotation
        return self._promoted

    def find_places(self) -> tuple[list[tuple[str, str]], list[Pushed]]:
        """The store and name of every destination, and a failure for each pattern that can't be expanded."""
        places, unknown = known_places(self.workspace, self.path)
        return [(place.store, place.name) for place in places], unknown

    def push(self, store: str, name: str) -> Pushed:
        """Bring one destination to CURRENT. Raises all errors."""
        plain = plain_places(self.workspace.catalogue, self.path)
        places = plain if (store, name) in [(d.store, d.name) for d in plain] else self.workspace.places(self.path)
        for place in places:
            if (place.store, place.name) == (store, name):
                return carry(self.workspace, self.path, place)
        raise Conflict("push to", f"{store}:{name}", "the secret has no such field any more", "Sync it again")

    def restart(self, store: str) -> None:
        """Restart the workloads of the secret's copies in this store, if pending. Doesn't wait for their pods."""
        places, _ = known_places(self.workspace, self.path)
        names = [place.name for place in places if place.store == store]
        for error in restarts.restart_users(self.workspace, {store: names}, self.path).values():
            raise error

    def notify(self, token: str, consumer: str) -> Acknowledgement:
        """Notify one consumer, until it acknowledges or the tries end. Does nothing for a rotation that is over."""
        rotation = self._in_force(token)
        if rotation is None:
            return Acknowledgement(consumer, answers=self.workspace.catalogue.consumer(consumer).answers)
        return notify_consumer(self.workspace, self.path, rotation, consumer)

    def pause(self, seconds: float) -> None:
        """Wait before the canary's health check."""
        write_waiting()
        self.workspace.sleep(seconds)

    def health(self, consumers: Collection[str]) -> str:
        """What is wrong with these consumers; empty when they are healthy."""
        return unwell(self.workspace, consumers)

    def pass_canary(self, token: str) -> None:
        """Save that the canary is healthy, so that a later run notifies the rest at once."""
        pass_canary(self.workspace, self.path, token)

    def conclude(self, token: str, consumers: Collection[str], in_step: bool) -> None:
        """Save who acknowledged, and that all copies are in sync (``in_step``). Raises Superseded."""
        conclude(self.workspace, self.path, token, consumers, in_step)

    def find_promoted(self, token: str) -> Rotation | None:
        """The rotation ``token`` while its old credential is not retired: it may not have reached every consumer."""
        self._promoted = self._in_force(token)
        return self._promoted

    def find_revertible(self) -> str:
        """The last rotation's token, if it can be rolled back. Raises NotFound, Locked, Superseded."""
        return revertible(self.workspace, self.path).token

    def try_restored(self) -> None:
        """Log in with the restored value. Raises Superseded where the target refuses it."""
        insist_on_login(self.workspace, self.path)

    def take_back(self, token: str, why: str, by_hand: bool = False) -> Rotation:
        """Restore the previous value and return the rotation, in names."""
        self._promoted = rollback(self.workspace, self.path, token, why, by_hand=by_hand)
        return self._promoted

    def finish_taking_back(self) -> Rotation | None:
        """Finish an interrupted rollback; None where there is none."""
        self._promoted = finish_rollback(self.workspace, self.path)
        return self._promoted

    def retire(self, waive: Waive) -> Retirement:
        """End the old credential if nothing holds it back."""
        return retire(self.workspace, self.path, waive)

    def describe_previous(
        self, rotation: Rotation, retirement: Retirement | None = None, *, in_step: bool = False
    ) -> str:
        """The state of the credential before ``rotation``, in words."""
        return state_of_previous(self.workspace, self.path, rotation, retirement, in_step=in_step)

    def _resumed(self, token: str) -> Attempt:
        if self._attempt and self._attempt.rotation.token == token:
            return self._attempt
        self._attempt = steps.resume(self.workspace, self.path, token)
        return self._attempt

    def _in_force(self, token: str) -> Rotation | None:
        rotation = self._promoted or load_record(self.workspace, self.path).retiring
        if rotation is None or rotation.token != token:
            return None
        self._promoted = rotation
        return rotation


LAY_GROUND: Final = Verb("lay ground", Work.lay_ground)
DECIDE: Final = Verb("decide", Work.decide)
DECIDE_AGAIN: Final = Verb("decide", Work.decide_again)
GUARD: Final = Verb("guard", Work.guard)
MAKE_WAY: Final = Verb("make way", Work.make_way)
STAGE: Final = Verb("stage", Work.stage)
INSTALL: Final = Verb("install", Work.install)
VERIFY: Final = Verb("verify", Work.verify)
PROMOTE: Final = Verb("promote", Work.promote)
FIND_PLACES: Final = Verb("find places", Work.find_places)
PUSH: Final = Verb("push", Work.push)
RESTART: Final = Verb("restart", Work.restart)
NOTIFY: Final = Verb("notify", Work.notify)
PAUSE: Final = Verb("pause", Work.pause)
HEALTH: Final = Verb("health", Work.health)
PASS_CANARY: Final = Verb("pass canary", Work.pass_canary)
CONCLUDE: Final = Verb("conclude", Work.conclude)
FIND_PROMOTED: Final = Verb("conclude", Work.find_promoted)
FIND_REVERTIBLE: Final = Verb("look", Work.find_revertible)
TRY_RESTORED: Final = Verb("verify", Work.try_restored)
TAKE_BACK: Final = Verb("revert", Work.take_back)
FINISH_TAKING_BACK: Final = Verb("revert", Work.finish_taking_back)
RETIRE: Final = Verb("retire", Work.retire)
DESCRIBE_PREVIOUS: Final = Verb("look", Work.describe_previous)
