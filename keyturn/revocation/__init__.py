"""Emergency revocation as plain functions: end a leaked credential everywhere, replace it, and prove that it is over.

Its state is in the hub, so any run finishes what another began, and nothing in it needs Prefect.
"""
