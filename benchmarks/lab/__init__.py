"""A lab that is not there: who works in it, what they read of its secrets, and who steals from it.

``traffic`` gives the events of so many days, each with the name of the attack that it belongs to, or none; what was
laid into it, and from which publications its numbers are, stands in benchmarks/detection.md.
"""
