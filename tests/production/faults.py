"""The components that are killed during a fleet rotation, and their recovery."""

import resource
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import redis

from local.support.process import Process
from tests.production.processes import Supervised, resume
from tests.production.topology import Topology
from tests.support.prefect_server import wait_for

CUT = 60
"""Seconds that the network is cut."""
FULL = 30
"""Seconds that the ledger's disk is full."""
SUSPENDED = 150
"""Seconds that a process is suspended: longer than its leases, and than the 90 s in which a silent run is crashed."""
SOON = 120
"""Seconds in which a server that was started again answers."""


@dataclass(frozen=True)
class Fault:
    """``part`` is what it happens to, ``target`` says that applications are cut off from their database meanwhile."""

    name: str
    strike: Callable[[Topology], object]
    target: bool = False


def killed(name: str) -> Fault:
    """SIGKILL for one process of Prefect's or ours and all that it has started, and a start a moment later."""

    def strike(topology: Topology) -> None:
        part = topology.parts[name]
        part.kill()
        part.start()

    return Fault(f"{name} killed", strike)


def at_work(topology: Topology) -> Supervised:
    """The worker that has more to do: the one with more processes."""
    return max((topology.parts[name] for name in ("worker-1", "worker-2")), key=lambda part: len(part.tree()))


def kill_the_one_at_work(topology: Topology) -> None:
    """The worker that has the fleet's run, most likely, and all of its runs."""
    part = at_work(topology)
    part.kill()
    part.start()


def suspend_the_one_at_work(topology: Topology) -> None:
    """As a virtual machine that is moved: it wakes up, and knows nothing of what came meanwhile."""
    pids = at_work(topology).suspend()
    time.sleep(SUSPENDED)
    resume(pids)


def suspend_serve(topology: Topology) -> None:
    """For longer than the leases of its parts."""
    pids = topology.parts["serve-1"].suspend()
    time.sleep(CUT)
    resume(pids)


def flush_redis(topology: Topology) -> None:
    """Nothing of what Prefect has planned, leased and queued is left."""
    with redis.from_url(topology.redis_url(0)) as client:
        client.flushall()


def restart_redis(topology: Topology) -> None:
    """It comes back without its data."""
    kill(topology.redis.process)
    topology.redis.start()


def restart_hub(topology: Topology) -> None:
    """Killed, and started again: it unseals itself."""
    kill(topology.hub.process)
    topology.hub.start()


def restart_target(topology: Topology) -> None:
    """The database that the fleet's accounts are in: every session is cut, and it recovers."""
    kill(topology.target.process)
    topology.target.start()


def fail_over_target(topology: Topology) -> None:
    """It comes back as a read-only standby, as after a failover to a replica, and is promoted ten seconds later."""
    ((place,),) = topology.sql("SHOW data_directory")
    topology.target.process.stop(signal.SIGINT)
    owner = Path(place).stat()
    subprocess.run(
        ["touch", "standby.signal"], cwd=place, check=True, user=owner.st_uid, group=owner.st_gid, extra_groups=[]
    )
    topology.target.start()
    time.sleep(10)
    topology.sql("SELECT pg_promote()")


def restart_prefect_database(topology: Topology) -> None:
    """Every session of Prefect's is cut, and it recovers."""
    kill(topology.prefect_database.process)
    topology.prefect_database.start()


def cut_network(topology: Topology) -> None:
    """Between all of Keyturn's processes and Prefect, the hub, the target and the ledger; nobody is told."""
    pid = topology.edge.process.pid
    assert pid is not None
    pids = [pid]
    Supervised(topology.edge.process, (), {}, "").suspend()
    time.sleep(CUT)
    resume(pids)


def fill_disk(topology: Topology) -> None:
    """The disk of the ledger's database, which a supervisor starts again where it ends by that."""
    if topology.disk.mounted:
        topology.disk.fill()
    else:
        forbid_growing(topology.ledger_database.process)
    time.sleep(FULL)
    if topology.disk.mounted:
        topology.disk.free()
    else:
        kill(topology.ledger_database.process)
    topology.ledger_database.start()


def forbid_growing(process: Process) -> None:
    """Let every file that it, or a session that begins, would make longer than this stay so."""
    assert process.pid is not None
    resource.prlimit(
        process.pid, resource.RLIMIT_FSIZE, (1024, resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[1])
    )


def kill(process: Process) -> None:
    """SIGKILL, to it and what belongs to it."""
    part = Supervised(process, (), {}, "")
    part.kill()
    wait_for(lambda: not part.tree(), SOON)


FAULTS = (
    killed("api-1"),
    killed("api-2"),
    killed("services-1"),
    killed("services-2"),
    Fault("Redis emptied", flush_redis),
    killed("worker-1"),
    killed("serve-1"),
    Fault("Redis killed, back without its data", restart_redis),
    killed("worker-2"),
    killed("serve-2"),
    Fault("the hub killed", restart_hub),
    Fault("the target killed", restart_target, target=True),
    Fault("the target fails over, read-only for 10 s", fail_over_target, target=True),
    Fault("Prefect's database killed", restart_prefect_database),
    Fault("the ledger's disk full for 30 s", fill_disk),
    Fault("the network cut for 60 s", cut_network),
    Fault("the worker at work killed", kill_the_one_at_work),
    Fault("serve suspended for 60 s", suspend_serve),
    Fault("the worker at work suspended for 150 s", suspend_the_one_at_work),
)
