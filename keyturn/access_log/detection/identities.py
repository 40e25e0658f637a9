"""Who is the same in several systems: a name without what each system writes around it."""

import re
from functools import lru_cache
from typing import Final

REMEMBERED: Final = 50_000

METHODS: Final = re.compile(r"(?:approle|userpass|ldap|oidc|jwt|kubernetes|cert|github|aws|azure|gcp|token)[- ]", re.I)
"""What a hub writes before a name: how it logged in."""

PEOPLE: Final = re.compile(r"(?:userpass|ldap|oidc|github|okta|radius|saml)[- ]", re.I)
"""The methods by which people log in."""

PROGRAMS: Final = re.compile(r"serviceaccount", re.I)
"""What stands in a program's mail address: those of Google's service accounts."""

ARN: Final = re.compile(r"arn:[\w-]*:(?:iam|sts)::\d*:(.+)")
SESSION: Final = re.compile(r"assumed-role/([^/]+)/(.+)")


@lru_cache(REMEMBERED)
def plain_name(principal: str) -> str:
    """The name that a person or program has in every system, as far as it can be told from this one.

    ``userpass-ana``, ``arn:aws:iam::123456789012:user/ana``, ``ana@example.com`` and ``serviceAccount:ana@...`` are
    ``ana``. Of a role that somebody assumed it is the session's, where that is an address of a person.
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
    """Whether it is a person, by how it logs in: with a password or through a browser, or under a mail address."""
    return bool(PEOPLE.match(principal)) or ("@" in principal and not PROGRAMS.search(principal))
