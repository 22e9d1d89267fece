"""Finished rows of a table, written as a run leaves them, for tests that read tables and train nothing."""

import json
import shutil

import numpy as np
from test_table_plan import cells

from gcl_jax import config as config_lib
from gcl_jax.checkpoints import warm_start
from gcl_jax.checkpoints.checkpoint import Checkpoints
from gcl_jax.table import __main__ as command
from gcl_jax.table import plan
from gcl_jax.table.specs import TABLES
from gcl_jax.workdir import results


def network(value, head=0.0):
    return {
        "params": {"backbone": {"conv1": {"kernel": np.full((3, 3), value, np.float32)}},
                   "head": {"kernel": np.full((3, 2), head, np.float32)}},
        "batch_stats": {"backbone": {"bn1": {"mean": np.full(3, value, np.float32)}}},
    }  # fmt: skip


def save(stage, variables):
    """What a finished stage keeps of its network."""
    shutil.rmtree(stage, ignore_errors=True)
    with Checkpoints(stage / "checkpoints", 1) as checkpoints:
        checkpoints.save(3, variables, {"stage_key": "k"})
    (stage / "DONE.json").write_text(json.dumps({"final": {}, "stage_key": "k"}))


def digest(config, stage, variables):
    """By which a stage knows what it started from."""
    return warm_start.digest(warm_start.restored_part(variables, warm_start.restored_by(config[stage].restore)))


def finish(cell, root, *, start=None, data="d1", accuracy=50.0, code="c", seeds=None):
    """Write what the seeds of a cell leave; ``start`` are the variables that an init_from of the first stage held."""
    nodes = plan.chain(cell.config, root, plan.column_name(cell.dataset, cell.ratio))
    for i, node in enumerate(nodes):
        stage = node.config.stages[-1]
        held = network(float(i)) if i else start
        for seed in seeds or config_lib.seeds(node.config):
            folder = node.folder / f"seed_{seed}"
            (folder / stage).mkdir(parents=True, exist_ok=True)
            test = dict.fromkeys(results.COLUMNS, accuracy) | {"num_examples": 500}
            done = {"final": {"test": test}, "best": {}, "seconds": 1.0, "stage_key": "k",
                    "started_from": digest(node.config, stage, held) if held else "random"}  # fmt: skip
            versions = {"gcl_jax": "0", "python": "3", "jax": "0"}
            whole = {"stages": {stage: done}, "final": done["final"], "data": {"fingerprint": data}, "code": code,
                     "device": {"count": 1, "kind": "cpu"}, "versions": versions}  # fmt: skip
            (folder / "result.json").write_text(json.dumps(whole))
            (folder / stage / "DONE.json").write_text(json.dumps(done))
            np.savez_compressed(folder / stage / "predictions_test.npz", label=np.arange(3))
        (node.folder / "config.json").write_text(json.dumps({"training": {}, "config": {}}))
    return nodes


def of(name, table="baselines", overrides=(), seeds=1):
    return {c.row.name: c for c in cells(table, ["digits_lt"], overrides, seeds)}[name]


def run(names, every, root, table="baselines"):
    every = list(every)
    command.run(table, TABLES[table], [c for c in every if c.row.name in names], every, root, ["    the command"])
    return (root / f"{table}.md").read_text()


def result_of(folder):
    return folder / "seed_0/result.json"
