"""The crash matrix: every strategy, stopped at every point, and finished by a plain re-run.

Two ways to stop: the process kills itself before an external call (which is also just after the one before), or
an answer is lost after the other side has done what it was asked. ``make test-deep`` tries them all.
"""
