"""One process of several that train alike on any layout: several_processes.py PRECISION CASE OUT COORDINATOR N ID.

PRECISION is float32 or float64, CASE one of `CASES`. As in equivalence.py, twenty steps of every stage of GCL, then an
evaluation, on the JAX_NUM_CPU_DEVICES of each of N processes. OUT/ID.npz holds parameters, batch statistics and the
method's state after step 1 and step 20, and what was predicted; OUT/ID.json what this process read for training.
"""

import json
import pathlib
import sys

PRECISION, CASE, OUT, COORDINATOR, N, ID = sys.argv[1:7]
OUT, N, ID = pathlib.Path(OUT), int(N), int(ID)
sys.argv[2:] = []  # equivalence.py has arguments of its own

import equivalence  # noqa: E402
import jax  # noqa: E402
import numpy as np  # noqa: E402
import photographs  # noqa: E402
from tiny import digits  # noqa: E402

from gcl_jax import data  # noqa: E402
from gcl_jax.checkpoints import checkpoint  # noqa: E402
from gcl_jax.config import validation  # noqa: E402
from gcl_jax.runtime import backend, distributed, mesh  # noqa: E402
from gcl_jax.training import stage  # noqa: E402
from gcl_jax.transforms import StageTransforms  # noqa: E402

# (loader, seeds at once)
CASES = {"device": ("device", 1), "host": ("host", 1), "photographs": ("photographs", 1), "seeds": ("host", 2)}


def config_of(loader):
    """Batches of 16 and 32 that divide over four devices; test splits that do not divide into the batches."""
    if loader == "photographs":  # OUT is a folder of the test's, beside the photographs
        sizes = {"representation__batch_size": 16, "classifier__batch_size": 16, "eval__batch_size": 4}
        config = photographs.config_of(OUT.parent / "photographs", "list", **sizes)
    else:
        config = digits(representation__method__mixup_alpha=1.0, data__loader=loader, eval__batch_size=96)
    config.steps_per_call, config.log.every_steps = 2, 100
    for name in config.stages:
        config[name].optimizer.learning_rate, config[name].optimizer.schedule = 0.01, "constant"
        config[name].optimizer.warmup_percent = 0.0
    validation.validate(config)
    return config


def build(name, config, dataset, seeds):
    """The stage on the devices of all processes, and the list that notes which images it reads for training."""
    grid = mesh.make_mesh(seeds=seeds)
    loader, read = data.make_loader(config.data.loader, dataset, grid, resize=config.data.photos.resize), []
    rows = loader.rows

    def noted(split, plan, crop_noise=None):
        if split == "train":
            read.append({name: plan[name].tolist() for name in plan})
        return rows(split, plan, crop_noise)

    loader.rows = noted
    return stage.Stage(config, name, dataset, loader, grid, seeds), read


def main():
    if N > 1:
        distributed.start(COORDINATOR, N, ID)
    backend.DTYPES["float32"], StageTransforms.normalize = equivalence.DTYPE, equivalence.normalize
    backend.loops = lambda *, resident: resident  # as on an accelerator
    backend.compiler_options = lambda: {"xla_backend_optimization_level": 0}  # compiles twice as fast
    loader, at_once = CASES[CASE]
    config = config_of(loader)
    keys = ("source", "name", "path", "profile", "imbalance_ratio", "subset_seed", "validation_fraction")
    dataset = data.load(**{key: config.data[key] for key in keys}, photos=config.data.photos.to_dict())
    found, read, seeds = {}, {}, list(range(at_once))
    with jax.default_matmul_precision("highest"):
        for name in config.stages:
            built, read[name] = build(name, config, dataset, at_once)
            for step, states in zip((1, equivalence.STEPS), equivalence.trajectory(built, seeds), strict=True):
                found |= checkpoint.flatten({f"{name} {step} {seed}": state for seed, state in enumerate(states)})
            variables = jax.tree.map(lambda x: x, states[0])
            predictions = built.evaluate(built.replicate(variables), built.stats())()
            found |= {f"{name} test {key}": value for key, value in vars(predictions["test"]).items()}
            assert distributed.run_on_host0(lambda p=predictions: p["test"].predicted.tolist()) == (
                predictions["test"].predicted.tolist()
            )
    OUT.mkdir(exist_ok=True, parents=True)
    np.savez(OUT / f"{ID}.npz", **found)
    (OUT / f"{ID}.json").write_text(json.dumps(read))


if __name__ == "__main__":
    main()
