"""Our contenders: stage 1 of configs/cifar10_lt.py:gcl on random data, through the package's own rooms.

Everything that the benchmark knows of stages, steps and loaders is here. One device, as PyTorch has.
"""

import tempfile
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from gcl_jax import command_line, data
from gcl_jax.benchmark import cifar, machine
from gcl_jax.runtime import backend, jax_settings, memory
from gcl_jax.runtime import mesh as mesh_lib
from gcl_jax.training.dispatches import Every, lengths
from gcl_jax.training.outputs import Evaluate, Log, NonFinite, Save, Stop
from gcl_jax.training.stage import Stage
from gcl_jax.training.stage_run import StageRun
from gcl_jax.training.trainer import Program, Trainer
from gcl_jax.typing import PyTree

STAGE, SEED = "representation", 0
CPU_EPOCH_STEPS = 20  # a whole epoch takes a minute there


def make_config(precision: str = "float32", loader: str = "device") -> ConfigDict:
    """The config of configs/cifar10_lt.py:gcl, for random arrays."""
    made = command_line.config_of(["benchmark", f"--config=cifar10_lt:gcl,{cifar.IMBALANCE_RATIO}"])
    made.data.update(source="arrays", name="random", loader=loader)
    made.precision = precision
    made.log.update(every_steps=cifar.LOG_EVERY, tensorboard=False)
    return made


class _Ours:
    """The stage, on the first device; ``images_per_unit`` are those that a unit of a subclass takes."""

    images_per_unit: int

    def __init__(self, precision: str = "float32", loader: str = "device"):
        backend.keep_freed_memory()
        jax_settings.pin()
        jax.config.update("jax_default_matmul_precision", backend.MATMUL[precision])
        made = make_config(precision, loader)
        splits = {name: data.Split(*cifar.split(name)) for name in ("train", "test")}
        classes = tuple(map(str, range(cifar.NUM_CLASSES)))
        dataset = data.Dataset("random", splits, classes, np.arange(len(splits["train"])))
        mesh = mesh_lib.make_mesh(jax.devices()[:1])
        self.stage = Stage(made, STAGE, dataset, data.make_loader(loader, dataset, mesh), mesh)

    def facts(self) -> dict:
        """Memory, sizes, and where it runs, which is where the others then have to."""
        device = jax.devices()[0]
        return {
            "host_peak_bytes": machine.host_peak_bytes(),
            "device_peak_bytes": memory.peaks()["device_peak_bytes"],
            "images_per_unit": self.images_per_unit,
            "platform": device.platform,
            "kind": device.device_kind,
        }

    def epoch_blocks(self, epoch: int) -> Iterator[tuple[PyTree, int]]:
        """An epoch's blocks as the host loop asks for them, and how many steps each holds."""
        per_epoch = self.stage.settings.steps_per_epoch
        due = [Every(cifar.LOG_EVERY, per_epoch), Every(self.stage.config.checkpoint.every_steps)]
        sizes = lengths(0, per_epoch, due, max_steps=self.stage.steps_per_call)
        return zip(self.stage.input_pipeline.blocks([SEED], epoch, 0, sizes), sizes, strict=True)


class Step(_Ours):
    """A unit is one train step; as many in one dispatch as a run on this backend would take."""

    images_per_unit = cifar.BATCH

    def __init__(self, precision: str):
        super().__init__(precision)
        self.state, self.inputs, _ = self.stage.start(SEED, None, "")
        self.program: Any = self.stage.compile()  # a `jax.stages.Compiled`: debug_nans is off
        self.blocks = [block for block, length in self.epoch_blocks(0) if length == self.stage.steps_per_call]
        self.dispatched = 0
        self.run(2 * self.stage.steps_per_call)

    def run(self, units: int) -> None:
        """Take ``units`` steps."""
        while units:
            size = min(units, self.stage.steps_per_call)
            block = self.blocks[self.dispatched % len(self.blocks)]
            self.state, _ = self.program(self.state, self.inputs, block, np.int32(size))
            self.dispatched += 1
            units -= size
        jax.block_until_ready(self.state)

    def facts(self) -> dict:
        """Also what the compiler says of the program; a loop's body counts once there, which is one step."""
        cost = {key: value for key, value in (self.program.cost_analysis() or {}).items() if value > 0}
        return super().facts() | {
            "steps_per_call": self.stage.steps_per_call,
            "flops_per_unit": cost.get("flops"),
            "bytes_per_unit": cost.get("bytes accessed"),
            "temp_bytes": self.program.memory_analysis().temp_size_in_bytes,
        }


class _LinesOnly:
    """What a run's outputs write to, of which only the lines are written."""

    def __init__(self, run: StageRun):
        self.check, self.log = run.check, run.log

    def evaluate(self, step, state):
        return lambda: None

    def save(self, step, state, pending_eval):
        pass


class Epoch(_Ours):
    """A unit is ``steps`` steps (0: a whole epoch, fewer on CPU) of the real host loop with a run's own logging."""

    def __init__(self, precision: str, steps: int):
        super().__init__(precision)
        whole = self.stage.settings.steps_per_epoch
        self.steps = min(steps or (CPU_EPOCH_STEPS if backend.is_cpu() else whole), whole)
        self.images_per_unit = self.steps * cifar.BATCH
        self.folder = tempfile.TemporaryDirectory()
        self.seed_run = StageRun(self.stage, SEED, epath.Path(self.folder.name))
        self.state, self.inputs = self.seed_run.state, self.seed_run.inputs
        self.program = self.stage.compile()
        self.epochs = 0
        self._train(min(self.steps, 2 * self.stage.steps_per_call))

    def run(self, units: int) -> None:
        """Train ``units`` epochs."""
        for _ in range(units):
            self._train(self.steps)

    def _train(self, steps):
        program = Program(
            name=STAGE,
            step=self.program,
            inputs=self.inputs,
            blocks=lambda _, row, sizes: self.stage.input_pipeline.blocks([SEED], self.epochs, row, sizes),
            epochs=1,
            steps_per_epoch=steps,
            steps_per_call=self.stage.steps_per_call,
        )
        line = Every(self.stage.settings.log_every, steps)
        save = Save(Every(self.stage.config.checkpoint.every_steps), 0, check_clock=line)
        outputs = [NonFinite(line), Log(line), Evaluate(Every(steps)), Stop(), save]
        self.state = Trainer(program, _LinesOnly(self.seed_run), outputs, self.state).fit()
        self.epochs += 1
        jax.block_until_ready(self.state)

    def facts(self) -> dict:
        """Also how many steps a unit has, which the others then take too."""
        return super().facts() | {"steps": self.steps, "steps_per_call": self.stage.steps_per_call}


class Evaluation(_Ours):
    """A unit is the evaluation of 10,000 images, predictions fetched."""

    images_per_unit = cifar.NUM_TEST

    def __init__(self, precision: str):
        super().__init__(precision)
        state, inputs, _ = self.stage.start(SEED, None, "")
        self.variables, self.info = self.stage.variables(state), inputs.info
        self.run(1)

    def run(self, units: int) -> None:
        """Evaluate ``units`` times."""
        for _ in range(units):
            self.stage.evaluate(self.variables, self.info)()


class Input(_Ours):
    """A unit is an epoch of blocks from a ``loader``: "host" delivers images, "device" indices of resident ones."""

    images_per_unit = cifar.STEPS_PER_EPOCH * cifar.BATCH

    def __init__(self, loader: str):
        super().__init__(loader=loader)
        self.epochs = 0
        self.run(1)

    def run(self, units: int) -> None:
        """Deliver ``units`` epochs."""
        for _ in range(units):
            for block, _ in self.epoch_blocks(self.epochs):
                jax.block_until_ready(block)
            self.epochs += 1
