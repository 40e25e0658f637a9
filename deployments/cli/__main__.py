"""``python -m deployments.cli``, for a process of the same environment that has no PATH to the script."""

from deployments.cli import main

main()
