"""The kinds of secret in the matrix: a class for each, by what they are kept at."""

from typing import Final

from tests.crash.kinds.apis import (
    AlternatingPasswords,
    ApiKey,
    ApiKeyInTwoRequests,
    Exchanged,
    KeyPairs,
    PasswordInPlace,
    Slots,
    SshKeys,
)
from tests.crash.kinds.base import Kind
from tests.crash.kinds.caches import RedisUser
from tests.crash.kinds.clouds import AppSecret, IamKey, ServiceAccountKey, StorageKey
from tests.crash.kinds.databases import Alternating, AlternatingOnMariaDB, Single, SingleOnMariaDB
from tests.crash.kinds.directories import InDirectory, InFile
from tests.crash.kinds.engines import Certificates, Dynamic, DynamicOnMariaDB, Static, StaticOnMariaDB
from tests.crash.kinds.keys import Generated, SigningKeys

__all__ = ["KINDS", "Alternating", "Kind"]

KINDS: Final[tuple[type[Kind], ...]] = (
    Alternating,
    AlternatingOnMariaDB,
    Single,
    SingleOnMariaDB,
    InDirectory,
    InFile,
    Dynamic,
    DynamicOnMariaDB,
    Static,
    StaticOnMariaDB,
    Certificates,
    RedisUser,
    IamKey,
    ServiceAccountKey,
    AppSecret,
    StorageKey,
    ApiKey,
    ApiKeyInTwoRequests,
    Slots,
    Exchanged,
    PasswordInPlace,
    AlternatingPasswords,
    KeyPairs,
    SshKeys,
    SigningKeys,
    Generated,
)
"""The rows, in the order of the table."""
