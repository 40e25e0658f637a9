"""A Kubernetes API server on loopback: Secrets and the workloads that use them, for unmodified clients.

Behaves as the API is documented: "Kubernetes API Concepts" (versions, listing in chunks, metadata alone), "Server-Side
Apply" (who set which field), "Secrets", "TokenReview" (whose a token is), "Using RBAC Authorization" and "Checking API
Access" (who may do what), and the API conventions (Status). It runs no pods: a workload is a document, whose status
tells what its controller would. It takes merge, strategic and apply patches, and no JSON patches.
"""

from local.emulators.kubernetes.access import Account, rules, rules_in, rules_of
from local.emulators.kubernetes.emulator import Emulator
from local.emulators.kubernetes.server import Server

__all__ = ["Account", "Emulator", "Server", "rules", "rules_in", "rules_of"]
