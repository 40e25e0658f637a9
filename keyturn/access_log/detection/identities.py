"""The same principal in several systems: names without each system's additions."""

import re
from functools import lru_cache
from typing import Final

REMEMBERED: Final = 50_000

METHODS: Final = re.compile(r"(?:approle|userpass|ldap|oidc|jwt|kubernetes|cert|github|aws|azure|gcp|token)[- ]", re.I)
"""The login method that a hub adds to a name."""

PEOPLE: Final = re.compile(r"(?:userpass|ldap|oidc|github|okta|radius|saml)[- ]", re.I)
"""The login methods of people."""

PROGRAMS: Final = re.compile(r"serviceaccount", re.I)
"""Part of the mail addresses of Google's service accounts."""

ARN: Final = re.compile(r"arn:[\w-]*:(?:iam|sts)::\d*:(.+)")
SESSION: Final = re.compile(r"assumed-role/([^/]+)/(.+)")


@lru_cache(REMEMBERED)
def plain_name(principal: str) -> str:
    """The name of a person or program across systems, as far as it can be derived.

    ``userpass-ana``, ``arn:aws:iam::123456789012:user/ana``, ``ana@example.com`` and ``serviceAccount:ana@...`` are
    ``ana``. An assumed role's is the session's if that is a mail address.
    """
    name = principal.strip()
    if arn := ARN.fullmatch(name):
        session = SESSION.fullmatch(arn[1])
        name = arn[1].rpartition("/")[2]
        if session and "@" not in session[2]:
            name = session[1]
    name = METHODS.sub("", name, count=1)
    name = name.rpartition(":")[2] or name
    return (name.partition("@")[0] or name).casefold()


@lru_cache(REMEMBERED)
def is_person(principal: str) -> bool:
    """Whether it is a person, by login method or mail address."""
    return bool(PEOPLE.match(principal)) or ("@" in principal and not PROGRAMS.search(principal))
