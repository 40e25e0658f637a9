"""Keyturn's blocks and worker as a Prefect collection, which Prefect imports in every process.

Other processes are unchanged: no folder is added to their path.
"""

from keyturn.project.parts import load_part
from keyturn.project.worker.worker import KeyturnWorker as KeyturnWorker

FailureChannel = load_part("blocks.channel").FailureChannel
KeyturnSecret = load_part("blocks.secret").KeyturnSecret
KeyturnWorkspace = load_part("blocks.workspace").KeyturnWorkspace
