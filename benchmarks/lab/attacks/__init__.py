"""Attack scripts: each a function that leaves rows behind, entered with its family and the publication it follows."""

from benchmarks.lab.attacks import clouds, guessing, insiders, machines, stolen
from benchmarks.lab.attacks.base import SCENARIOS, Attack, Scenario, plan

__all__ = ["SCENARIOS", "Attack", "Scenario", "clouds", "guessing", "insiders", "machines", "plan", "stolen"]
