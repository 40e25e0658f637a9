"""The protocol as plain functions over ports: what a flow's tasks run, one step each.

Every step first asks whether it is already done, so any run can finish what another began.
"""
