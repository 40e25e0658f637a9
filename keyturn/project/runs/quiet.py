"""What Prefect says of every run alike is left out of the logs of Keyturn's own: their sentences tell what was done.

It holds in the process of one run, whichever server that is of; nobody else's runs are in it.
"""

import logging
import re
from typing import Final

LOGGERS: Final = ("prefect.flow_runs", "prefect.task_runs")

SAID_OF_EVERY_RUN: Final = re.compile(
    r"(Beginning (flow|subflow)|Created (task|subflow)|Renamed task) run ['\"]"
    r"|Executing (flow|task) ['\"]"
    r"|Finished in state Completed\("
)


def said_of_every_run(record: logging.LogRecord) -> bool:
    """Whether it tells no more than that a run has begun, or has ended well."""
    return record.levelno <= logging.INFO and SAID_OF_EVERY_RUN.match(record.getMessage()) is not None


def leave_out(record: logging.LogRecord) -> bool:
    """The filter: what is said of every run does not pass, and everything else does, errors in any case."""
    return not said_of_every_run(record)


def quiet_runs() -> None:
    """Let the logs of this process's runs tell what was done, and nothing that is said of every run."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(leave_out)
