"""The least that each login needs, for exactly what the catalogue declares: as data, and written out.

:mod:`hub <keyturn.policies.hub>` has the rules of the hub's policies, the settings of strategies and stores have
theirs. What stands in ``deployments/policies`` is the same for a catalogue that may do everything.
"""
