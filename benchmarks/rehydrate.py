"""Every value of a lost hub, restored from three clouds' copies alone, and compared by fingerprint.

    python benchmarks/rehydrate.py [--secrets 1000]

The hub is the real OpenBao, the clouds are the local Secrets Manager and the emulators of Key Vault and Secret Manager.
Each secret is pushed to all three. One copy in ten is then changed by hand in one of the clouds, the hub loses all its
data, and is filled again with the key of the fingerprints. Its values before and after are compared.
"""

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

import boto3
import hvac

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.bare import FOLDER, REGION
from benchmarks.clouds import Clouds, fields_of
from keyturn.core.fingerprint_keys import FIRST_KEY
from keyturn.core.plan import Action
from keyturn.providers.vault.hub import VaultHub
from keyturn.recovery.rehydrate import Rehydration, rehydrate
from keyturn.recovery.rehydrate_keys import keys_from, put_keys_back
from keyturn.sync.apply import Applier
from keyturn.sync.plan import plan
from keyturn.sync.run import carry_out, local_executor
from keyturn.wiring.registry import open_workspace

CHANGED = 10
"""One in this many copies of the first cloud is changed by hand."""


def main(count: int) -> None:
    """Push, lose, fill again, and compare. Exits with 1 if a value differs."""
    names = [f"secret-{number:05}" for number in range(count)]
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        clouds = Clouds(Path(directory), stack, names, 0)
        clouds.start()
        with closing(VaultHub(clouds.settings)) as hub:
            workspace = open_workspace(clouds.catalogue, hub)
            failed = carry_out(workspace, plan(workspace, unseen=True), local_executor(Applier(workspace)))
            print(f"pushed {count} secrets to 3 clouds; {sum(bool(result.error) for result in failed)} copies failed")
            store = workspace.open_store("aws")
            changed = list(store.list_managed())[::CHANGED]
            aws = boto3.client(
                "secretsmanager", region_name=REGION, endpoint_url=f"http://127.0.0.1:{clouds.ports['aws']}"
            )
            for copy in changed:
                aws.put_secret_value(SecretId=copy.name, SecretString='{"password":"theirs"}')
            state = hub.read_state(FIRST_KEY)
            entries = {FIRST_KEY: dict(state.data) if state else {}}
        lose(clouds)
        with closing(VaultHub(clouds.settings)) as hub:
            put_keys_back(hub, entries)
            workspace = open_workspace(clouds.catalogue, hub)
            began = time.perf_counter()
            report = rehydrate(workspace, keys_from(entries), apply=True)
            took = time.perf_counter() - began
            done = [secret for secret in report.secrets if secret.verdict is Rehydration.WRITTEN]
            proven = sum(secret.proven and secret.equal for secret in done)
            held = hub.read_many([f"{FOLDER}/{name}" for name in names])
            same = sum(
                f"{FOLDER}/{name}" in held and held[f"{FOLDER}/{name}"].fields.reveal() == fields_of(name)
                for name in names
            )
            actions = [item.action for item in plan(workspace).items]
        print(f"{len(changed)} copies were changed by hand; {report.changed} were found so, and others taken")
        print(f"{proven} of {count} proven and equal by fingerprint, {same} of {count} equal by value, in {took:.1f} s")
        print(f"afterwards {actions.count(Action.IN_SYNC)} of {3 * count} copies are in sync")
        sys.exit(0 if proven == same == count else 1)


def lose(clouds: Clouds) -> None:
    """Remove everything from the hub."""
    root = hvac.Client(url=clouds.hub.address, token=clouds.hub.root_token)
    for mount in ("secret", "keyturn"):
        root.sys.disable_secrets_engine(mount)
        root.sys.enable_secrets_engine("kv", mount, options={"version": "2"})
    time.sleep(2)  # a new mount becomes version 2 after its answer


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secrets", type=int, default=1000)
    main(parser.parse_args().secrets)
