"""Every connection goes through the layer that enforces deadline, size and destination."""

import re
from pathlib import Path
from typing import Final

import keyturn

ROOT: Final = Path(keyturn.__file__).parent
OPENS: Final = re.compile(
    r"requests\.(?:get|post|put|patch|delete|request|Session)\(|DirectSession\(\)|AuthorizedSession\(|HTTPAdapter\("
    r"|boto3\.(?:client|resource|Session)\(|get_session\(|urlopen\(|PoolManager\(|ApiClient\(|RequestsTransport\("
    r"|create_connection\(|redis\.(?:Redis|Connection|SSLConnection)\(|pymysql\.connect\("
)
"""How the libraries that are installed open a connection, or what opens one."""

APPLICATIONS_OWN: Final = "pool.py"
"""A pool of an application's own connections, to what it uses: how long those take, and what they bring, is its own."""

INSISTS: Final = re.compile(
    r"keep_to\(|open_anywhere\(|OutboundAdapter|OutboundSession|POOLS|ended_after\(|open_transport\(|asking\.join\("
    r"|refuses_host\("
)
"""How they are made to keep to what every connection has to; the last is a question that may be left alone."""


def test_every_connection_enforces_deadline_size_and_destination() -> None:
    modules = {file.relative_to(ROOT): file.read_text() for file in ROOT.rglob("*.py") if file.name != APPLICATIONS_OWN}
    opening = {str(name) for name, text in modules.items() if OPENS.search(text)}
    lax = {name for name in opening if not INSISTS.search(modules[Path(name)])}
    assert lax == set()
    assert {"providers/aws/client.py", "providers/azure/client.py", "providers/kubernetes/cluster.py"} <= opening
