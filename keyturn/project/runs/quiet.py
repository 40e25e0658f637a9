"""Removes Prefect's routine messages from the logs of one run's process."""

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
    return record.levelno <= logging.INFO and SAID_OF_EVERY_RUN.match(record.getMessage()) is not None


def leave_out(record: logging.LogRecord) -> bool:
    return not said_of_every_run(record)


def quiet_runs() -> None:
    for name in LOGGERS:
        logging.getLogger(name).addFilter(leave_out)
