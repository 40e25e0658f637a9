"""The names of rotation steps, and the sentences that state their results."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from keyturn.core.ports.conductor import Verb
from keyturn.core.rotation_record import Rotation
from keyturn.core.sensitive import SecretFields
from keyturn.rotation import strategy_verbs as verbs
from keyturn.rotation.copies.push import CopyState, Pushed
from keyturn.rotation.decide import Decision
from keyturn.rotation.previous_targets import Retirement
from keyturn.rotation.rollout import Acknowledgement
from keyturn.rotation.state.context import Workspace
from keyturn.rotation.state.naming import names_of
from keyturn.rotation.strategy_verbs import Work
from tasks.workspace import current_workspace

USERNAME, PASSWORD = "username", "password"

IN_FORCE: Final = "the candidate is in force already"

STAGED: Final[dict[str, str]] = {}
"""The account of each staged candidate, by rotation token, until promotion."""


def called(verb: Verb[..., Any]) -> Callable[[Mapping[str, Any]], str]:
    def run_name(parameters: Mapping[str, Any]) -> str:
        on: Callable[..., str] = ON.get(verb, on_secret)
        return f"{verb.name} {on(*parameters.values())}"

    return run_name


def on_secret(path: str, *_: Any) -> str:
    return path


def on_account(path: str, token: str) -> str:
    target, account = target_of(current_workspace(), path), STAGED.get(token, "")
    return f"{account} at {target}".strip() if target else path


ON: Final[Mapping[Verb[..., Any], Callable[..., str]]] = {
    verbs.LAY_GROUND: lambda path, version, _: f"{path} version {version}",
    verbs.INSTALL: on_account,
    verbs.VERIFY: on_account,
    verbs.PUSH: lambda _, store, name: f"{store}:{name}",
    verbs.RESTART: lambda path, store: f"who uses {path} in {store}",
    verbs.NOTIFY: lambda _, token, consumer: consumer,
    verbs.HEALTH: lambda _, consumers: ", ".join(consumers),
}


def told_of_step(verb: Verb[..., Any], work: Work, arguments: tuple[Any, ...], result: Any) -> str:
    return SENTENCES[verb](work, result, *arguments)


def decided(work: Work, decision: Decision, *_: Any) -> str:
    return f"{work.path} is replaced: {decision.words}" if decision.reason else decision.words


def decided_again(work: Work, decision: Decision | None, *_: Any) -> str:
    return "another candidate is made" if decision else "no other candidate is made"


def made_way(work: Work, retirement: Retirement, *_: Any) -> str:
    return retirement.message or "nothing was in the way"


def staged(work: Work, token: str, *_: Any) -> str:
    attempt = work.attempt
    if attempt is None:
        return f"rotation {token} continues"
    if account := account_of(work, attempt.candidate):
        STAGED[token] = account
    whose = f" for {account}" if account else ""
    return f"a candidate{whose} is saved as PENDING, sequence {attempt.rotation.sequence}"


def installed(work: Work, _: None, *__: Any) -> str:
    target, attempt = target_of(work.workspace, work.path), work.attempt
    if attempt is None or attempt.record.open is None or attempt.in_force:
        return IN_FORCE
    account, sequence = account_of(work, attempt.candidate), attempt.rotation.sequence
    if not target:
        return f"the candidate is where it has to be known, sequence {sequence}"
    if account and PASSWORD in attempt.candidate:
        return f"{account} has a new password at {target}, sequence {sequence}"
    return f"the new credential{f' of {account}' if account else ''} is at {target}, sequence {sequence}"


def verified(work: Work, _: None, *__: Any) -> str:
    target, attempt = target_of(work.workspace, work.path), work.attempt
    if attempt is None or attempt.record.open is None or attempt.in_force:
        return IN_FORCE
    if not target:
        return "the candidate has passed its test"
    return f"{account_of(work, attempt.candidate) or 'the candidate'} logs in at {target}"


def promoted(work: Work, rotation: Rotation, token: str) -> str:
    STAGED.pop(token, None)
    return f"version {rotation.version} is in force"


def pushed(work: Work, copy: Pushed, *_: Any) -> str:
    label, state = f"{copy.store}:{copy.name}", copy.state
    if state in (CopyState.CREATED, CopyState.UPDATED):
        return f"version {copy.version} is at {label}"
    if state in (CopyState.IN_STEP, CopyState.LABELLED):
        return f"{label} has version {copy.version} already"
    return f"{label}: {copy.error or state}"


def notified(work: Work, answer: Acknowledgement, token: str, consumer: str) -> str:
    if work.version is None:
        return f"{consumer} was not notified: the rotation is over"
    if answer.error:
        return f"{consumer} has not acknowledged version {work.version}"
    return f"{consumer} acknowledged version {work.version}" if answer.answers else f"{consumer}: {answer.words}"


def taken_back(work: Work, rotation: Rotation | None, *_: Any) -> str:
    return f"version {rotation.version} holds the previous value again" if rotation else "nothing was left to take back"


def retired(work: Work, retirement: Retirement, *_: Any) -> str:
    return retirement.message or f"the credential before it is {retirement.state}"


def found_promoted(work: Work, rotation: Rotation | None, *_: Any) -> str:
    return f"version {rotation.version} is in force: who has it is looked at" if rotation else "nothing was left of it"


def concluded(work: Work, _: None, token: str, consumers: Any, in_step: bool) -> str:
    parts = [f"{', '.join(consumers)} acknowledged"] if consumers else []
    parts += ["all copies are in sync"] if in_step else []
    return f"written down: {' and '.join(parts) or 'nothing new'}"


SENTENCES: Final[Mapping[Verb[..., Any], Callable[..., str]]] = {
    verbs.LAY_GROUND: lambda work, _, version, *__: f"the next one is based on the fields of version {version}",
    verbs.DECIDE: decided,
    verbs.DECIDE_AGAIN: decided_again,
    verbs.GUARD: lambda work, *_: "no destination blocks it",
    verbs.MAKE_WAY: made_way,
    verbs.STAGE: staged,
    verbs.INSTALL: installed,
    verbs.VERIFY: verified,
    verbs.PROMOTE: promoted,
    verbs.FIND_PLACES: lambda work, places, *_: f"{len(places[0])} places",
    verbs.PUSH: pushed,
    verbs.RESTART: lambda work, _, store: f"who uses the copies in {store} was restarted where that was owed",
    verbs.NOTIFY: notified,
    verbs.HEALTH: lambda work, problem, *_: problem or "the canary is well",
    verbs.PASS_CANARY: lambda work, *_: "the canary is healthy: all others are notified",
    verbs.CONCLUDE: concluded,
    verbs.FIND_PROMOTED: found_promoted,
    verbs.FIND_REVERTIBLE: lambda work, token, *_: f"rotation {token} can be taken back",
    verbs.TRY_RESTORED: lambda work, *_: "the target does not refuse what was put back",
    verbs.TAKE_BACK: taken_back,
    verbs.FINISH_TAKING_BACK: taken_back,
    verbs.RETIRE: retired,
    verbs.DESCRIBE_PREVIOUS: lambda work, words, *_, **__: words,
}


def account_of(work: Work, candidate: SecretFields) -> str:
    """The candidate's account; empty if it has none, or its name may not be shown."""
    name = candidate[USERNAME].reveal() if USERNAME in candidate else ""
    shown = names_of(work.workspace.catalogue, work.workspace.hub, work.path)
    return name if name and shown.may_show(USERNAME, name) else ""


def target_of(workspace: Workspace, path: str) -> str:
    """The target's name in the catalogue; empty for a secret without one."""
    return str(getattr(workspace.secret(path).rotation, "target", None) or "")
