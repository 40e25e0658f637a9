"""The protocol as plain functions over ports, one step for each task of a flow.

Every step first checks whether it is done, so any run can finish another's work.
"""
