"""How much a run of the tests may ask for: all of it is one hour's work of one login."""

from typing import Final

LOOSE_LIMITS: Final = {
    "incidents": 100_000,
    "incidents_of_one_login": 100_000,
    "incidents_of_one_secret": 1_000,
    "rotations": 100_000,
    "rotations_of_one_secret": 100,
}
