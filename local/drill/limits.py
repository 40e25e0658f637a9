"""What a drill can't show of the real secret: the limits of its strategy, in the words of docs/strategies."""

from collections.abc import Mapping
from typing import Final

MADE_WITH_IT: Final = "accounts, routines and events created with the credential are not searched for"

LIMITS: Final[Mapping[str, tuple[str, ...]]] = {
    "alternating-users": (MADE_WITH_IT,),
    "single-user": (MADE_WITH_IT, "until the replacement is installed no login works"),
    "vault-dynamic": ("where Keyturn's own account may not end sessions at the target, those that are open go on",),
    "vault-static-role": (
        "who has begun to log in with the old password and draws that out is let in for up to a minute more",
    ),
    "certificate": (
        "a client that checks no revocation list, or has an older copy of it, accepts the certificate until it expires",
        "connections that are open go on",
    ),
    "generated": ("an application that checks the value itself accepts the old one until it has read the new one",),
    "manual": ("a person ends it where it is honoured, and writes the new value to the hub",),
    "aws-iam-key": (
        "sessions of roles that were assumed with the key end by themselves, after 12 hours at most",
        "the user's own sessions work on for 36 hours at most where Keyturn may not revoke them",
    ),
    "gcp-service-account-key": ("access tokens that were got with the key work on for an hour, 12 hours at most",),
    "azure-app-secret": (
        "it takes some minutes until the sign-in refuses the secret everywhere",
        "access tokens that it was given work on for 60 to 90 minutes, 24 hours at most",
    ),
    "azure-storage-key": ("it takes about 30 seconds until the key is refused everywhere",),
    "signing-key": ("whatever the key has signed passes until each verifier has read the new set: its max-age",),
    "redis-acl": ("functions, scripts and users created with the password are not searched for",),
    "http-api-key": ("sessions and tokens that the API has given out for the key are not known to Keyturn",),
    "http-two-slots": ("sessions and tokens that the API has given out for the key are not known to Keyturn",),
    "http-exchange": (
        "applications are refused from the exchange until they have read the new token",
        "a successor in an answer that was lost works until it expires",
    ),
    "http-password": (
        "sessions stay open where the catalogue describes no request that ends them",
        "with one account, applications are refused from the change until they have read the new value",
    ),
    "http-key-pair": ("tokens and sessions that the API has given to the key work on until they expire",),
    "ssh-key": (
        "SSH sessions that are open go on until their end",
        "servers that keep a copy of the keys take the old one until they ask the API again",
    ),
}
"""For each strategy what works on after its credential has ended, or takes its time."""

ONE_MACHINE: Final = "every server of the drill is on this machine: networks and the clouds' own pace add their time"
