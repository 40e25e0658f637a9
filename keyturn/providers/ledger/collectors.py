"""The collectors that the environment configures."""

from collections.abc import Mapping
from typing import Final

from keyturn.core.clear_text import is_set
from keyturn.core.errors import Invalid
from keyturn.ledger.formats import Format
from keyturn.ledger.forwarding import Collector

SYSLOG: Final = "KEYTURN_FORWARD_SYSLOG"
HTTP: Final = "KEYTURN_FORWARD_HTTP"


def collectors(env: Mapping[str, str]) -> list[Collector]:
    """Those of KEYTURN_FORWARD_SYSLOG and KEYTURN_FORWARD_HTTP, possibly none. Raises Invalid. Sends nothing."""
    configured: list[Collector] = []
    if address := env.get(SYSLOG):
        from keyturn.providers.ledger.syslog import INSECURE, Syslog

        ca_file, insecure = env.get(f"{SYSLOG}_CA_FILE") or None, is_set(env, INSECURE)
        configured.append(Syslog(address, _form(env, SYSLOG), ca_file=ca_file, insecure=insecure))
    if url := env.get(HTTP):
        from keyturn.providers.ledger.http_collector import INSECURE_HTTP, HttpCollector

        token_file, ca_file = (env.get(f"{HTTP}_{what}_FILE") or None for what in ("TOKEN", "CA"))
        insecure = is_set(env, INSECURE_HTTP)
        configured.append(
            HttpCollector(url, _form(env, HTTP), token_file=token_file, ca_file=ca_file, insecure_http=insecure)
        )
    return configured


def _form(env: Mapping[str, str], variable: str) -> Format:
    name = env.get(f"{variable}_FORMAT") or Format.JSONL
    try:
        return Format(name)
    except ValueError:
        hint = f"It is one of {', '.join(Format)}"
        raise Invalid("read", f"{variable}_FORMAT", "there is no such format", hint) from None
