"""What the detection of odd reads takes from the ledger, as a rotation and a revocation write it."""

from datetime import datetime
from typing import Final

from keyturn.access_log.detection.history import SecretHistory
from keyturn.ledger.entries import parse_leaf
from tests.revocation.site import Site
from tests.support.lab import Lab

LONG_AHEAD: Final = datetime(2100, 1, 1).astimezone().timestamp()


def test_the_ledger_tells_when_a_secret_was_revoked_and_which_versions_have_ended(lab: Lab) -> None:
    site = Site.of(lab, lab.generated())
    site.rotated()
    stands = site.revoke()
    (secret,) = stands.secrets
    path, newest = site.secret.path, secret.version or 0
    ledger = site.workspace.ledger
    history = SecretHistory(parse_leaf(leaf).entry for _, leaf in ledger.leaves())  # type: ignore[attr-defined]
    revoked = history.revoked_at(path, LONG_AHEAD)
    assert revoked is not None
    assert abs(revoked - stands.incident.triggered_at.timestamp()) < 600
    assert history.revoked_at(path, revoked - 1) is None
    ended = [version for version in range(1, newest + 1) if history.retired_at(path, version, LONG_AHEAD)]
    assert ended == list(range(1, newest))
    assert history.retired_at("another", 1, LONG_AHEAD) is None
