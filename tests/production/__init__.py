"""The topology of docs/production.md on one machine, and what dies in it while a fleet is rotated.

It takes 20 minutes and more, so it is apart from all other tests: `make production-test`.
"""
