"""Accounts of a directory as a target: OpenLDAP and its kind with several passwords, Active Directory with one.

The last rotation's number is a value of ``mark``, an attribute of the account. Each change replaces the value that it
has read, in the same request, so no writer overwrites unseen changes. Two values of userPassword let in side by side;
the mark has the digest of the newest one, and of none of the values that were put there by hand.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from keyturn.core.errors import Denied, Invalid, KeyturnError, Locked, NotFound, Unavailable, UnsupportedOperation
from keyturn.core.sensitive import SecretFields, Sensitive
from keyturn.core.text import templates
from keyturn.core.text.connections import Connection
from keyturn.core.text.passwords import PasswordPolicy, generate
from keyturn.providers.accounts import Missing, admin_refused, insist_on_another, lacking, login_refused, superseded
from keyturn.providers.connection_errors import RemoteServer, from_connection
from keyturn.providers.ldap.client import ADD, DELETE, REPLACE, Edit, LdapError, LdapServer, LdapSession

SERVER: Final = RemoteServer(
    check="Check host, port, tls and ca_file in the catalogue",
    address="host in the catalogue",
    authority="Name the CA that signed it as ca_file, and the host by which it is certified",
)
MARK: Final = re.compile(rb"keyturn (\d{1,18}) ([0-9a-f]{16})( off)?")
PASSWORD, GROUPS, CONTROL = "userPassword", "memberOf", "userAccountControl"
DISABLED: Final = 2
"""ADS_UF_ACCOUNTDISABLE."""
ATTEMPTS: Final = 10
NO_CREDENTIALS, ABSENT, NO_RIGHT, OUTRUN = 49, 32, frozenset({8, 13, 50, 53}), frozenset({16, 20})
"""Results (RFC 4511, appendix A): a refused login, no such entry, a missing right or missing TLS, another's change."""


@dataclass(frozen=True)
class Account:
    """An account as it was read. ``newest`` is the digest of the value that Keyturn set last."""

    marks: tuple[bytes, ...]
    sequence: int
    newest: str
    off: bool
    passwords: tuple[bytes, ...]
    control: int
    groups: frozenset[bytes]

    @property
    def latest(self) -> list[bytes]:
        return [value for value in self.passwords if digest(value) == self.newest]


class Ldap:
    """An :class:`keyturn.core.ports.strategies.AccountTarget`. ``account_dn`` has ``{{account}}``."""

    def __init__(
        self,
        name: str,
        *,
        host: str,
        port: int | None,
        admin: Callable[[], SecretFields],
        account_dn: str,
        directory: str = "openldap",
        tls: str = "ldaps",
        ca_file: str | None = None,
        mark: str = "description",
    ) -> None:
        self.name = name
        self._server = LdapServer(host, port or (636 if tls == "ldaps" else 389), tls, ca_file)
        self._admin = admin
        self._account_dn = account_dn
        self._is_ad = directory == "active-directory"
        self._mark = mark

    def set_password(
        self,
        account: str,
        password: Sensitive,
        *,
        sequence: int,
        like: str | None = None,
        member_of: str | None = None,
        keep_old: bool = False,
    ) -> None:
        if self._is_ad and keep_old:
            hint = "Use alternating-users, or accept a gap"
            raise UnsupportedOperation("set the password of", self._named(account), "it has one password", hint)
        insist_on_another(self._named(account), self._dn(account), self._admin())

        def values(there: Account) -> list[bytes]:
            same = [value for value in there.passwords if matches(value, password)][:1]
            if same and digest(same[0]) == there.newest:
                return [*same, *(value for value in there.passwords if keep_old and value not in same)]
            others = (there.latest or list(there.passwords)) if keep_old else []
            return [*(same or [hashed(password)]), *(value for value in others if value not in same)]

        self._change("set the password of", account, sequence, values, password)

    def discard_old(self, account: str, *, sequence: int) -> None:
        self._change("end the old password of", account, sequence, lambda there: there.latest or list(there.passwords))

    def last_sequence(self, accounts: Collection[str]) -> int:
        with self._administrator("read the number of", self.name) as session:
            entries = [self._read(session, account) for account in sorted(accounts)]
        return max((there.sequence for there in entries if there), default=0)

    def check_login(self, account: str, password: Sensitive, *, like: str | None = None) -> None:
        if not self.accepts(account, password):
            raise login_refused(self._named(account), by="the directory")
        if like is None or like == account:
            return
        with self._administrator("compare the groups of", self._named(account)) as session:
            own, others = self._must_read(session, account), self._must_read(session, like)
        if missing := sorted(others.groups - own.groups):
            remedy = f"make {self._dn(account)} a member of the groups of {like}"
            raise lacking(self._named(account), [Missing(f"member of {group.decode()}", remedy) for group in missing])

    def read_connection(self, text: Sensitive) -> Connection | None:
        return None

    def accepts(self, account: str, password: Sensitive) -> bool:
        try:
            with self._server.session(self._dn(account), password):
                return True
        except LdapError as error:
            if error.code == NO_CREDENTIALS:
                return False
            raise self._error(error, "log in as", self._named(account)) from None
        except OSError as error:
            raise from_connection(error, "log in as", self._named(account), SERVER) from None

    def lets_in(self, account: str) -> bool:
        with self._administrator("look at", self._named(account)) as session:
            there = self._read(session, account)
        if there is None or self._is_ad:
            return there is not None and not there.control & DISABLED
        return bool(there.passwords) and not (there.off and len(there.latest) == len(there.passwords))

    def sessions(self, account: str) -> int:
        """0: a directory does not show who has bound."""
        return 0

    def left_open(self, account: str) -> str:
        """Which sessions outlive a revocation."""
        return f"connections that {self._named(account)} has bound before: they keep its rights until they are closed"

    def disable(self, account: str, *, sequence: int) -> None:
        self._change("disable", account, sequence, None)

    def revoke(self, account: str, *, sequence: int) -> int:
        insist_on_another(self._named(account), self._dn(account), self._admin())
        self._change("cut", account, sequence, None)
        return 0

    def end_sessions(self, account: str, refuse: Callable[[], None]) -> int:
        refuse()
        return 0

    def close(self) -> None:
        """Nothing stays open."""

    def _change(
        self,
        doing: str,
        account: str,
        sequence: int,
        values: Callable[[Account], Sequence[bytes]] | None,
        password: Sensitive | None = None,
    ) -> None:
        """Set an account's passwords, newest first, and the mark in one request; None sets one that no one knows."""
        with self._administrator(doing, self._named(account)) as session:
            for _ in range(ATTEMPTS):
                there = self._read(session, account)
                if there is None and values is None:
                    return
                if there is None:
                    hint = "Create it, or correct account_dn of the target"
                    raise NotFound(doing, self._named(account), f"there is no entry {self._dn(account)}", hint)
                if there.sequence > sequence:
                    raise superseded(doing, self._named(account), stands=there.sequence, sequence=sequence)
                try:
                    session.modify(self._dn(account), list(self._edits(there, sequence, values, password)))
                except LdapError as error:
                    if error.code not in OUTRUN:
                        raise
                else:
                    return
        hint = f"If nothing else writes it, {self._mark} may take one value only: name another attribute as mark"
        raise Locked(doing, self._named(account), "others change it at the same time", hint)

    def _edits(
        self,
        there: Account,
        sequence: int,
        values: Callable[[Account], Sequence[bytes]] | None,
        password: Sensitive | None,
    ) -> Iterator[Edit]:
        off = values is None
        if self._is_ad:
            newest = digest(secrets.token_bytes(16))
            if off or password:
                plain = password or generate(PasswordPolicy())
                yield REPLACE, "unicodePwd", [f'"{plain.reveal()}"'.encode("utf-16-le")]
                control = there.control | DISABLED if off else there.control & ~DISABLED
                yield REPLACE, CONTROL, [str(control).encode()]
        else:
            wanted = list(values(there)) if values else [hashed(generate(PasswordPolicy()))]
            newest = digest(wanted[0]) if wanted else digest(b"")
            if sorted(wanted) != sorted(there.passwords):
                yield REPLACE, PASSWORD, wanted
        mark = f"keyturn {sequence} {newest}{' off' if off else ''}".encode()
        if there.marks != (mark,):
            if there.marks:
                yield DELETE, self._mark, there.marks
            yield ADD, self._mark, [mark]

    def _read(self, session: LdapSession, account: str) -> Account | None:
        entry = session.read(self._dn(account), [self._mark, PASSWORD, GROUPS, CONTROL])
        if entry is None:
            return None
        marks = tuple(value for value in entry.get(self._mark.lower(), ()) if MARK.fullmatch(value))
        read = [match for value in marks if (match := MARK.fullmatch(value))]
        latest = max(read, key=lambda match: int(match[1]), default=None)
        return Account(
            marks,
            int(latest[1]) if latest else 0,
            latest[2].decode() if latest else "",
            bool(latest and latest[3]),
            entry.get(PASSWORD.lower(), ()),
            int(entry.get(CONTROL.lower(), (b"512",))[0]),
            frozenset(entry.get(GROUPS.lower(), ())),
        )

    def _must_read(self, session: LdapSession, account: str) -> Account:
        if (there := self._read(session, account)) is None:
            raise NotFound("read", self._named(account), "it is absent", "Create it, or correct account_dn")
        return there

    @contextmanager
    def _administrator(self, doing: str, name: str) -> Iterator[LdapSession]:
        admin = self._admin()
        try:
            with self._server.session(admin["username"].reveal(), admin["password"]) as session:
                yield session
        except LdapError as error:
            if error.code == NO_CREDENTIALS:
                raise admin_refused(self.name, "the directory refuses Keyturn's own login") from None
            raise self._error(error, doing, name) from None
        except OSError as error:
            raise from_connection(error, doing, name, SERVER) from None

    def _error(self, error: LdapError, doing: str, name: str) -> KeyturnError:
        problem = f"the directory answers with the LDAP result {error.code}"
        if error.code in NO_RIGHT:
            return Denied(doing, name, problem, "Grant Keyturn's account the right, and use TLS")
        if error.code in (51, 52, 80):
            return Unavailable(doing, name, problem, "The next run tries again")
        return Invalid(doing, name, problem, "Look the number up in RFC 4511, appendix A, and in the directory's log")

    def _dn(self, account: str) -> str:
        return templates.fill(self._account_dn, lambda _: escaped(account))

    def _named(self, account: str) -> str:
        return f"{self.name}:{account}"


def escaped(text: str) -> str:
    """A value within a distinguished name (RFC 4514, 2.4)."""
    quoted = re.sub(r'([,+"\\<>;=#])', r"\\\1", text)
    return re.sub(r"^ | $", r"\\20", quoted)


def digest(stored: bytes) -> str:
    return hashlib.sha256(stored).hexdigest()[:16]


def hashed(password: Sensitive) -> bytes:
    """As SSHA, which every server knows; generated passwords are too long to be guessed."""
    salt = secrets.token_bytes(16)
    return b"{SSHA}" + base64.b64encode(
        hashlib.sha1(password.reveal().encode() + salt, usedforsecurity=False).digest() + salt
    )


def matches(stored: bytes, password: Sensitive) -> bool:
    """Whether a stored value is this password, as far as its scheme is known."""
    plain = password.reveal().encode()
    if not stored.upper().startswith(b"{SSHA}"):
        return not stored.startswith(b"{") and hmac.compare_digest(stored, plain)
    try:
        content = base64.b64decode(stored[6:])
    except ValueError:
        return False
    return hmac.compare_digest(content[:20], hashlib.sha1(plain + content[20:], usedforsecurity=False).digest())
