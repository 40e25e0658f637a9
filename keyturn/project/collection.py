"""Keyturn's blocks and its worker for Prefect, which imports this module in every process: as one of its collections.

A Prefect server needs the blocks to send word of a failure, `prefect worker start` the worker. Somebody else's process
is left as it is: the folders come on nobody's path, and no module of their names is imported.
"""

from keyturn.project.parts import load_part
from keyturn.project.worker.worker import KeyturnWorker as KeyturnWorker

FailureChannel = load_part("blocks.channel").FailureChannel
KeyturnSecret = load_part("blocks.secret").KeyturnSecret
KeyturnWorkspace = load_part("blocks.workspace").KeyturnWorkspace
