"""The code of each class of error, and what it means: what is safe, and what to do. ``docs/errors.md`` is made of it.

A code never changes its meaning and is never given again, whatever becomes of the class or of the words around it.
"""

from dataclasses import dataclass
from typing import Final

from keyturn.core import errors
from keyturn.core.errors import KeyturnError


@dataclass(frozen=True)
class Explanation:
    """One code. ``meaning`` is what has happened, ``safe`` what holds meanwhile, ``remedy`` what to do, by ``command``.

    ``kind`` is the class: errors of its subclasses that have no code of their own have its code.
    """

    code: str
    kind: type[KeyturnError]
    title: str
    meaning: str
    safe: str
    remedy: str
    command: str


EXPLANATIONS: Final = (
    Explanation(
        "KT000",
        errors.KeyturnError,
        "Something failed",
        "Keyturn says what it was doing, to what, and what went wrong; nothing more is known about this kind of error.",
        "Every step asks first whether it is done, so running it again does nothing twice.",
        "Do what the line `remedy:` says.",
        "keyturn doctor",
    ),
    Explanation(
        "KT100",
        errors.TransientError,
        "It may succeed later with nothing changed",
        "The other side failed in a way that passes, or a part of the work is behind and is tried again by itself.",
        "The scheduled runs go on with it. What was not reached keeps what it had.",
        "Wait for the next run, or run the command again. If it remains, fix what the line names.",
        "keyturn status",
    ),
    Explanation(
        "KT101",
        errors.Unavailable,
        "The other side does not answer",
        "A hub, a store, a target or a server did not answer in time, or answered that it can't now.",
        "Nothing is concluded from it: what could not be looked at is unknown, neither absent nor proven. "
        "The credentials that are in force stay in force.",
        "Check the address, the network and the server that the line names, then run it again. "
        "Scheduled runs try it again by themselves.",
        "keyturn doctor",
    ),
    Explanation(
        "KT102",
        errors.Throttled,
        "The other side asks for a slower pace",
        "A service refused a call because there were too many of them, mostly a quota that several programs share.",
        "Keyturn waits as long as it is asked to, a minute at most, and then tries again; nothing is half written.",
        "Run it again later. Where it returns, look who else uses the quota, or have it raised.",
        "keyturn status",
    ),
    Explanation(
        "KT103",
        errors.Locked,
        "Another run holds it",
        "Another run is working on the same secret, or its guard still holds it. The command exits with 4.",
        "Only one of them writes; the other has changed nothing. A lock that its holder has left ends by itself.",
        "Wait until the other run has ended, then run it again.",
        "keyturn history PATH",
    ),
    Explanation(
        "KT104",
        errors.Contended,
        "Others wrote it each time",
        "Another process wrote the same record between reading and writing, at every attempt.",
        "Nothing of the others was overwritten, and this write did not happen.",
        "Run it again. Where it returns, look which program writes there so often.",
        "keyturn history PATH",
    ),
    Explanation(
        "KT105",
        errors.Unrecorded,
        "The ledger can't be written",
        "What is done is recorded before it is done, and the ledger could not take the record.",
        "What was to be recorded was not begun, so nothing happens that the ledger does not know of.",
        "Fix the ledger's storage: its server, its disk, its rights. Then run it again.",
        "keyturn ledger verify",
    ),
    Explanation(
        "KT106",
        errors.Unwitnessed,
        "It is unknown whether this hub is the active one",
        "Of two hubs, the other one has not answered within the lease, so it may have taken over; or it answers, and "
        "refuses to say which is written; or this one has just taken over, and waits until the other can have nothing "
        "on its way.",
        "Nothing was written here. What both hubs serve stays as it is, and credentials that are in force go on.",
        "Wait, or fix the connection to the other hub. If that is gone for good, take over from it.",
        "keyturn failover status",
    ),
    Explanation(
        "KT107",
        errors.NotEnded,
        "The leaked credential still works",
        "A revocation could not end it: the target does not answer, or it refuses Keyturn's own login there.",
        "The incident is open and keeps what was done. Nothing is replaced or cleared until the credential has ended.",
        "Do not wait: run the commands that `keyturn revoke` shows, at the target, as an administrator. "
        "They disable the accounts and end their sessions. Then fix what the line names; it is tried again by itself.",
        "keyturn revoke --resume ID",
    ),
    Explanation(
        "KT108",
        errors.HubUnavailable,
        "The hub does not answer, so nothing is revoked",
        "Keyturn keeps incidents and credentials in the hub, and the hub does not answer or is sealed.",
        "What leaked still works, unless the output says that it has ended.",
        "Do not wait: run the commands that `keyturn revoke` shows, at the target, as an administrator. "
        "They come from the catalogue on disk. When the hub is back, run the same revocation again.",
        "keyturn revoke PATH --reason WHY",
    ),
    Explanation(
        "KT200",
        errors.TerminalError,
        "A person has to fix the cause",
        "Trying again does not help until what the line names is fixed.",
        "The credentials that are in force stay in force, unless the line says otherwise.",
        "Do what the line `remedy:` says, then run it again.",
        "keyturn doctor",
    ),
    Explanation(
        "KT201",
        errors.NotFound,
        "What was asked for is not there",
        "The catalogue does not declare it, or the server answered that it "
        "does not exist. No answer at all is KT101 instead.",
        "Nothing was changed, and nothing was made in its place.",
        "Check the name: the line mostly names the nearest one that there is.",
        "keyturn status",
    ),
    Explanation(
        "KT202",
        errors.Missing,
        "What was there is gone",
        "Something that Keyturn knows to have existed was deleted or destroyed, such as the version in force.",
        "Nothing is made up in its place: what copies hold, and what is accepted at the target, stays as it is.",
        "Find out who deleted it. Bring it back from a copy or a backup, or have a new one made.",
        "keyturn repair recover --dry-run",
    ),
    Explanation(
        "KT203",
        errors.OverLimit,
        "More than may be asked for within the hour",
        "There is a limit on how much may be ended or replaced in an hour, against mistakes and stolen logins.",
        "What goes beyond it was not begun.",
        "Wait for the hour to end. If it is meant, exceed the limit with a reason; people are notified.",
        "keyturn COMMAND --over-limit REASON",
    ),
    Explanation(
        "KT204",
        errors.Denied,
        "The login lacks the right, or is refused",
        "The server knows the login and refuses the call, or does not accept the login.",
        "Nothing was changed. What may not be read is unknown, not absent.",
        "Grant what the line names. Compare the login's rights with what the work needs.",
        "keyturn policy check",
    ),
    Explanation(
        "KT205",
        errors.Unproven,
        "The server that answered may be another one",
        "The server's certificate does not hold, or it sent the call elsewhere.",
        "No secret and no login went there, and its answer counts for nothing.",
        "Check the address and the authority that its certificate is checked with. "
        "Where neither has changed, take it for an attack until it is explained.",
        "keyturn doctor",
    ),
    Explanation(
        "KT206",
        errors.Invalid,
        "The request itself is wrong",
        "A name, a size, a file, a setting or the catalogue can't be used as it is.",
        "It was refused before anything was changed.",
        "Correct what the line names, then run it again.",
        "keyturn catalogue validate",
    ),
    Explanation(
        "KT207",
        errors.Conflict,
        "It moved since it was read",
        "It was changed between the check and the write, such as a copy after the plan was made.",
        "Nothing was overwritten.",
        "Look again, and decide with what is there now.",
        "keyturn plan",
    ),
    Explanation(
        "KT208",
        errors.Taken,
        "Something of that name is there already",
        "It exists already, made by Keyturn or by others.",
        "It was left as it is.",
        "Choose another name, or look whether the present one is what you want.",
        "keyturn status",
    ),
    Explanation(
        "KT209",
        errors.Rewritten,
        "A record that may only grow was changed",
        "The ledger, the trail or another such record was cut short, changed or exchanged. It may be an attack, "
        "or a backup that was put back.",
        "Nothing is written on top of it, and no proof is made from it.",
        "Keep what is there as evidence. Compare it with the checkpoints that witnesses and other places hold.",
        "keyturn ledger verify",
    ),
    Explanation(
        "KT210",
        errors.Ahead,
        "Something outside is newer than the hub",
        "A copy or the ledger knows a newer version than the hub does, mostly as the hub was put back from a backup. Or"
        " it was, and what it holds may have been revoked since.",
        "Nothing is pushed and nothing is rotated, as what the hub holds may be dead.",
        "Bring the newer version back into the hub before anything else, or show that what it holds counts.",
        "keyturn repair recover --dry-run",
    ),
    Explanation(
        "KT211",
        errors.NotOwned,
        "It is there, and Keyturn's marks are not on it",
        "Something of that name exists in the store, which Keyturn did not make, or whose marks were removed.",
        "It is neither overwritten nor deleted.",
        "Find out whose it is. Adopt it, choose another name, or delete it yourself.",
        "keyturn scan",
    ),
    Explanation(
        "KT212",
        errors.CandidateRejected,
        "The target refused the candidate",
        "The new credential did not work at its target, so it was abandoned.",
        "The old credential is still in force, and no copy was changed.",
        "See why the target refused it. The next run makes another candidate.",
        "keyturn due PATH",
    ),
    Explanation(
        "KT213",
        errors.CertainRefusal,
        "The target would refuse every candidate",
        "What keeps this candidate from working would keep every other, such as a full quota of keys.",
        "The old credential is still in force, and no more candidates are made.",
        "Fix the cause at the target, then rotate.",
        "keyturn rotate PATH --now",
    ),
    Explanation(
        "KT214",
        errors.Misrendered,
        "The copy's text would not work as a login",
        "The template of a copy gives a text that does not work, whatever the credential is.",
        "It was not pushed; the copies keep what they had, and the old credential is still in force.",
        "Correct the template in the catalogue.",
        "keyturn catalogue validate",
    ),
    Explanation(
        "KT215",
        errors.Unprivileged,
        "The candidate may do less than what serves",
        "The new credential lacks rights that the one in force has, and so would every other.",
        "The old credential is still in force, and no application was given the new one.",
        "Grant the rest at the target, then rotate.",
        "keyturn rotate PATH --now",
    ),
    Explanation(
        "KT216",
        errors.Superseded,
        "A newer rotation has been here",
        "While this run waited, another one has replaced the secret.",
        "This run writes no more. The newer credential is in force.",
        "Nothing, unless it returns: then look which runs work on the same secret.",
        "keyturn history PATH",
    ),
    Explanation(
        "KT217",
        errors.UnsupportedOperation,
        "This can't be done there",
        "The store or the target has no such operation, or Keyturn does not know one.",
        "Nothing was changed, and nothing is reported as done that was not.",
        "Do it by the service's own means, or by what the line names.",
        "keyturn status",
    ),
    Explanation(
        "KT218",
        errors.Unforeseen,
        "An unexpected error",
        "A fault in Keyturn, or in a library that it uses. Its own text is not shown, as it could hold a value.",
        "Every step asks first whether it is done: a later run continues from where this one ended.",
        "Run it again, and report the line to Keyturn's maintainers.",
        "keyturn version",
    ),
    Explanation(
        "KT219",
        errors.NotWritable,
        "Another hub is the one that is written",
        "Of two hubs, this one was demoted, or the other one has taken over, or the two name different hubs.",
        "Nothing was written here, so the two do not drift apart.",
        "Work on the hub that the line names. Where the two disagree, decide which one it is.",
        "keyturn failover status",
    ),
    Explanation(
        "KT220",
        errors.CredentialLost,
        "The old credential may have ended, and its successor is known to no one",
        "The answer that held the successor was lost, and the catalogue describes no request that recovers it.",
        "The rotation stays open in the stage lost. Copies still hold the old credential.",
        "Create a new credential at the service and write it into the hub; the next run closes the rotation.",
        "keyturn history PATH",
    ),
    Explanation(
        "KT221",
        errors.NothingMade,
        "The target refused to make a credential, and certainly made none",
        "The request was refused: the credential, its rights, or the request itself is not accepted.",
        "Nothing has changed at the target, and CURRENT is still in force.",
        "Correct what the line names, then run the rotation again.",
        "keyturn rotate PATH",
    ),
    Explanation(
        "KT222",
        errors.PreviousUnended,
        "The previous credential has not ended yet",
        "A rotation keeps the credential that it replaced until its grace period is over and nothing uses it. "
        "Only one may wait like that, so the next rotation does not begin.",
        "Nothing was changed. The credential in force and the previous one both work.",
        "Wait for the end of the grace period: the next scheduled run ends the previous credential. `keyturn retire "
        "PATH` shows what holds it. To rotate at once, end it with `keyturn rotate PATH --now --end-previous`: "
        "applications that still use it lose access.",
        "keyturn retire PATH",
    ),
    Explanation(
        "KT223",
        errors.LoginRefused,
        "The hub refuses this login",
        "The hub does not accept this process's role id and secret id, token or certificate, so nothing can be read.",
        "Nothing was changed, and nothing is concluded: no secret was looked at.",
        "Write a new login to the files that the line names. If the login is right, the hub may have locked its role "
        "after five refused logins: see `sys/locked-users`, and run `keyturn setup hub --apply` as an administrator.",
        "keyturn doctor",
    ),
)
"""Every code, in order."""

BY_KIND: Final = {explanation.kind: explanation for explanation in EXPLANATIONS}
BY_NAME: Final = {explanation.kind.__name__: explanation.code for explanation in EXPLANATIONS}


def explain_error(kind: type[KeyturnError]) -> Explanation:
    """What is known about a class of errors: its own entry, else that of the nearest class it is derived from."""
    return next(BY_KIND[base] for base in kind.__mro__ if base in BY_KIND)


def code_of(error: KeyturnError) -> str:
    """The code of an error, told by its class alone."""
    return explain_error(type(error)).code


def code_of_kind(name: str) -> str:
    """The code of a class of errors by its name, as records keep it; empty for a name that is no class here."""
    return BY_NAME.get(name, "")


def find_explanation(code: str) -> Explanation | None:
    """The entry of a code, in capitals or not; None where there is none."""
    return next((entry for entry in EXPLANATIONS if entry.code == code.upper()), None)
