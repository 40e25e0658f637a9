"""Faults of the world around a rotation: each ends in a stated outcome with a hint, and a plain re-run heals.

Meanwhile an application logs in with what CURRENT holds, over and over, and is never refused.
"""
