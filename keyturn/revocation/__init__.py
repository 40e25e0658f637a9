"""Emergency revocation: end a leaked credential everywhere, replace it, and prove the end.

The state is in the hub, so any run can continue another's; it does not need Prefect.
"""
