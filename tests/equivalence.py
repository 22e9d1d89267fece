"""How far replicates and devices move a training run: equivalence.py PRECISION [CONFIG] prints JSON.

PRECISION is float32 or float64. Twenty steps of both stages of GCL on digits (mixup on, learning rate 0.01), each as
one seed on one device, data parallel over eight virtual devices, as seeds side by side on one device, and as seeds
over devices; or, of another CONFIG under configs/, of every stage on one device and on eight. Printed is
max|a - b| / max|b| against the single run, over parameters, batch statistics and the method's state, after step 1 and
after step 20.
"""

import json
import os
import sys

PRECISION, CONFIG = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")
os.environ["JAX_ENABLE_X64"] = str(int(PRECISION == "float64"))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from tiny import digits, load_config  # noqa: E402

from gcl_jax import data  # noqa: E402
from gcl_jax.config import validation  # noqa: E402
from gcl_jax.runtime import backend, mesh  # noqa: E402
from gcl_jax.training import stage  # noqa: E402
from gcl_jax.transforms import StageTransforms  # noqa: E402

STEPS = 20
DTYPE = jnp.dtype(PRECISION)
# (seeds, devices, steps per dispatch); the first is what the others are compared with.
LAYOUTS = {
    "single": (1, 1, 1),
    "data parallel": (1, 8, 1),
    "several steps a dispatch": (1, 1, 7),
    "seeds side by side": (2, 1, 1),
    "seeds over devices, several steps a dispatch": (2, 8, 7),
}
STAGES = {
    "representation": list(LAYOUTS)[1:],
    "classifier": ["data parallel", "seeds over devices, several steps a dispatch"],
}


def given():
    """The config that is compared."""
    if CONFIG:
        return load_config(CONFIG)
    return digits(representation__method__mixup_alpha=1.0, classifier__method__mixup_alpha=1.0)


def widen(tree):
    """The same values at the precision of this process."""
    return jax.tree.map(lambda x: x.astype(DTYPE) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)


def build(name, layout):
    """The stage ``name`` as a layout has it."""
    at_once, devices, steps_per_call = LAYOUTS[layout]
    config = given()
    config.steps_per_call, config.log.every_steps = steps_per_call, 100
    backend.loops = lambda *, resident: steps_per_call > 1  # as on an accelerator
    config[name].optimizer.learning_rate, config[name].optimizer.schedule = 0.01, "constant"
    config[name].optimizer.warmup_percent = 0.0
    validation.validate(config)
    keys = ("source", "name", "path", "profile", "imbalance_ratio", "subset_seed", "validation_fraction")
    dataset = data.load(**{key: config.data[key] for key in keys})
    grid = mesh.make_mesh(jax.devices()[:devices], seeds=at_once)
    return stage.Stage(config, name, dataset, data.make_loader("device", dataset, grid), grid, at_once)


def trajectory(built, seeds):
    """Parameters and statistics after step 1 and step 20, for each of ``seeds`` run at once."""
    found = jax.device_get(built._init(jax.random.key(7))) | {"method_state": {}}  # as if from a stage before
    started = [built.start(seed, found, "")[:2] for seed in seeds]
    state, inputs = (built.stack(part) if len(seeds) > 1 else part[0] for part in zip(*started, strict=True))
    state = widen(state)
    inputs, results = inputs.replace(info=widen(inputs.info)), []
    done, per_epoch = 0, built.settings.steps_per_epoch
    while done < STEPS:
        # Step 1 by itself, then as many at a time as the layout says, ending with the epoch.
        size = 1 if done == 0 else min(built.steps_per_call, per_epoch - done % per_epoch, STEPS - done)
        block = next(built.input_pipeline.blocks(seeds, done // per_epoch, done % per_epoch, [size]))
        state, _ = built.step(state, inputs, block, np.int32(size))
        done += size
        if done in (1, STEPS):
            results.append(
                [jax.device_get((own.params, own.model_state, own.method_state)) for own in built.unstack(state)]
            )
    return results


def difference(ours, theirs):
    """max|a - b| / max|b| over all leaves, leaf by leaf."""
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    return max(float(np.abs(a - b).max() / (np.abs(b).max() or 1)) for a, b in pairs)


def normalize(self, images):
    """`StageTransforms.normalize` at the precision of this process."""
    return (images.astype(DTYPE) / 255 - jnp.asarray(self.mean, DTYPE)) / jnp.asarray(self.std, DTYPE)


def main():
    backend.DTYPES["float32"], StageTransforms.normalize = DTYPE, normalize
    report = {}
    with jax.default_matmul_precision("highest"):
        for name, layouts in ({name: ["data parallel"] for name in given().stages} if CONFIG else STAGES).items():
            single = build(name, "single")
            alone = [trajectory(single, [seed]) for seed in (0, 1)]
            report[f"{name}: another seed"] = [difference(alone[1][i][0], alone[0][i][0]) for i in (0, 1)]
            for layout in layouts:
                seeds = list(range(LAYOUTS[layout][0]))
                found = trajectory(build(name, layout), seeds)
                report[f"{name}: {layout}"] = [
                    max(difference(found[i][seed], alone[seed][i][0]) for seed in seeds) for i in (0, 1)
                ]
    print(json.dumps(report))


if __name__ == "__main__":
    main()
