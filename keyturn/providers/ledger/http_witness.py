"""Witnesses over HTTP, configured by the environment. Source: C2SP's tlog-witness."""

from collections.abc import Mapping, Sequence
from typing import Final

import requests

from keyturn.core.clear_text import leaves_in_clear
from keyturn.core.errors import Denied, Invalid, KeyturnError, Rewritten, Unavailable
from keyturn.ledger.witness.cosignatures import WitnessKey
from keyturn.ledger.witness.cosigner import SIZE_TYPE, build_request, parse_size
from keyturn.ledger.witness.requests import OtherSize
from keyturn.providers.connection_errors import RemoteServer, from_connection
from keyturn.providers.http.api_target import api_session
from keyturn.providers.outbound import within

WITNESSES: Final = "KEYTURN_LEDGER_WITNESSES"
CA_FILE: Final = "KEYTURN_LEDGER_WITNESS_CA_FILE"
DOING: Final = "be cosigned by"
DEADLINE: Final = 10.0
"""Seconds for one whole exchange with a witness."""
AGAIN: Final = "See whether it runs; it is asked again with the next checkpoint"
WITNESS: Final = RemoteServer(AGAIN, WITNESSES, f"Name its authority in {CA_FILE}")
ANSWER_LIMIT: Final = 4096
"""Bytes of an answer; a signature line takes 150."""


class HttpWitness:
    """A :class:`keyturn.ledger.witness.requests.WitnessPort` at https, or http on this machine. Raises Invalid."""

    def __init__(self, key: WitnessKey, url: str, ca_file: str | None = None, deadline: float = DEADLINE) -> None:
        if not url.startswith(("https://", "http://")) or leaves_in_clear(url):
            raise Invalid("ask", key.name, "its address is not an https URL", f"Write it so in {WITNESSES}")
        self.key = key
        self._url = f"{url.rstrip('/')}/add-checkpoint"
        self._ca_file = ca_file
        self._deadline = deadline

    def add_checkpoint(self, old: int, proof: Sequence[bytes], note: str) -> str:
        """Its signature lines. Raises OtherSize, Rewritten if it has seen another history, Unavailable, Denied."""
        status, kind, body = self._exchange(build_request(old, proof, note))
        if status == 200:
            return body
        if status == 409 and kind.partition(";")[0].strip() == SIZE_TYPE:
            try:
                size = parse_size(body)
            except ValueError:
                raise self._error(Invalid, "the size in its answer can't be read", "See its own log") from None
            raise OtherSize(DOING, self.key.name, f"it has cosigned {size} entries before", size=size)
        if status == 422:
            problem = "it has cosigned another history of this ledger before"
            raise self._error(Rewritten, problem, "Keep the ledger as it is: docs/ledger.md says what to do")
        raise self._refused(status)

    def _exchange(self, body: bytes) -> tuple[int, str, str]:
        try:
            with within(self._deadline), api_session(self._url, self._ca_file) as http:
                headers = {"content-type": "text/plain; charset=utf-8", "accept-encoding": "identity"}
                with http.post(
                    self._url, data=body, headers=headers, timeout=self._deadline, allow_redirects=False, stream=True
                ) as answer:
                    content = answer.raw.read(ANSWER_LIMIT + 1, decode_content=False)
                    kind, length = (answer.headers.get(f"content-{what}", "") for what in ("type", "length"))
        except (OSError, requests.RequestException, ValueError) as error:
            raise from_connection(error, DOING, self.key.name, WITNESS) from None
        except Exception:  # noqa: BLE001  urllib3's errors where the body is cut off
            raise self._error(Unavailable, "its answer was cut off", AGAIN) from None
        if len(content) > ANSWER_LIMIT:
            raise self._error(Invalid, "its answer is longer than any cosignature", "Check its address")
        if length.isdigit() and int(length[:9]) > len(content):
            raise self._error(Unavailable, "its answer was cut off", AGAIN)
        return answer.status_code, kind, content.decode(errors="replace")

    def _refused(self, status: int) -> KeyturnError:
        if status in (403, 404):
            hint = "Give those who run it the ledger's key: keyturn ledger key"
            return self._error(Denied, f"it answered {status}: it does not know the ledger, or its key", hint)
        if 300 <= status < 400:
            return self._error(Invalid, f"it answered {status}, a redirect, which is not followed", "Give its own URL")
        return self._error(Unavailable, f"it answered {status}", "See its own log")

    def _error(self, kind: type[KeyturnError], problem: str, hint: str) -> KeyturnError:
        return kind(DOING, self.key.name, problem, hint)


def configured_witnesses(env: Mapping[str, str]) -> list[HttpWitness]:
    """The witnesses in KEYTURN_LEDGER_WITNESSES, if any: comma-separated pairs of key and URL. Raises Invalid."""
    entries = [entry.split() for entry in env.get(WITNESSES, "").split(",") if entry.strip()]
    for entry in entries:
        if len(entry) != 2:
            raise Invalid("read", WITNESSES, "each entry is a key and a URL", "Write: KEY URL, KEY URL")
    ports = [HttpWitness(WitnessKey.parse(key), url, env.get(CA_FILE) or None) for key, url in entries]
    if len({port.key.key for port in ports}) != len(ports):
        raise Invalid("read", WITNESSES, "two witnesses have one key", "Give each its own")
    return ports
