"""Drills: an emergency revocation of a copy of a secret, in the local stack, while an intruder is at work.

The secret is one like the real one, with accounts, copies and an application of its own. The real engine revokes it.
Nothing of the real secret is read or touched but its declaration, and of the drill nothing is left but the ledger's
entries and the report.
"""

from local.drill.run import Asked, Drilled, drill

__all__ = ["Asked", "Drilled", "drill"]
