"""A trained network as a function: what a run's folder holds, without the data that it was trained on."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from gcl_jax import config as config_lib
from gcl_jax import json_files, models
from gcl_jax.config import older, validation
from gcl_jax.data import PHOTOGRAPH_SOURCES
from gcl_jax.data.augment import Augment
from gcl_jax.errors import UserError
from gcl_jax.machine import backend
from gcl_jax.methods import ClassStats
from gcl_jax.saved import checkpoint
from gcl_jax.saved.workdir import done_file
from gcl_jax.training import evaluate
from gcl_jax.training.train_step import NetworkApply


@dataclasses.dataclass(frozen=True)
class Trained:
    """One stage's network: (params, batch_stats, method_state), its run's config, and what it was trained on.

    ``image_shape`` is (H, W, c) of the uint8 images that it takes, ``counts`` the training images of each class.
    """

    config: ConfigDict
    stage: str
    variables: tuple
    class_names: tuple[str, ...]
    counts: np.ndarray
    image_shape: tuple[int, int, int]
    step: int

    def described(self, workdir: str) -> str:
        """For people: whose network this is, and the rules after training that it is under."""
        rules = {k: v for k, v in self.config.posthoc.to_dict().items() if v != config_lib.TOP["posthoc"][k]}
        under = "".join(f", posthoc.{key} = {value:g}" for key, value in rules.items())
        return f"{self.stage} of {workdir}, step {self.step}{under}"

    @property
    def resize(self) -> int:
        """The shorter side of an image before its centre is cropped to `image_shape`, as in evaluation."""
        height, width, _ = self.image_shape
        return self.config.data.photos.resize if self.config.data.source in PHOTOGRAPH_SOURCES else min(height, width)

    def probabilities(self) -> Callable[[tuple, jax.Array], jax.Array]:
        """The pure function (variables, uint8[B, H, W, c]) -> float32[B, C]: softmax at the method's scale.

        As evaluation has it: normalisation of pixels and the config's post-hoc rules are inside.
        """
        block, data = self.config[self.stage], self.config.data
        method = config_lib.build_method(block.method.to_dict(), f"config.{self.stage}.method")
        network = models.build(
            self.config.model.name, block.head, len(self.class_names), backend.DTYPES[self.config.precision]
        )  # fmt: skip
        augment = Augment(0, False, tuple(data.mean), tuple(data.std))  # which only normalises here
        logits = evaluate.make_logits(
            NetworkApply(network, block.bn),
            method.after_training(self.config.posthoc),
            augment,
            self.config.posthoc.logit_adjustment,
        )

        stats = ClassStats(jnp.asarray(self.counts, jnp.float32), {})

        def probabilities(variables: tuple, images: jax.Array) -> jax.Array:
            with backend.matmul_precision(self.config.precision):
                return jax.nn.softmax(logits(variables, stats, images))

        return probabilities


def locate(folder: str, stage: str = "", *, first: bool = False) -> tuple[ConfigDict, epath.Path, str]:
    """(config, folder of the seed, stage) of a run; of several seeds the first, by default the last finished stage.

    A stage that is named may still train. Raises UserError if ``folder`` holds no run, or no checkpoint of ``stage``.
    """
    root = epath.Path(folder).expanduser().absolute()
    file = next((f for f in (root / "config.json", root.parent / "config.json") if f.exists()), None)
    if file is None:
        raise UserError(f"--workdir={folder} holds no config.json: name the folder of a run")
    config = older.with_defaults(ConfigDict(json_files.read(file, "config")["config"]))
    validation.validate(config)
    own = root / f"seed_{config.seed}" if (root / f"seed_{config.seed}").exists() else root
    there = [name for name in config.stages if any((own / name / "checkpoints").glob("[0-9]*"))]
    finished = [name for name in there if done_file(own, name).exists()]
    name = stage or (finished[0 if first else -1] if finished else "")
    if name not in there:
        raise UserError(
            f"{own} holds {'no checkpoint of ' + name if name else 'no finished stage'}: train it first, or name "
            "another --stage"
        )
    return config, own, name


def read(folder: str, stage: str = "") -> Trained:
    """The network in ``folder``, a run's or one of its seeds'; by default of the last finished stage.

    Raises UserError if ``folder`` holds no run or its checkpoint lacks what it was trained on.
    """
    config, own, name = locate(folder, stage)
    variables, note, step = checkpoint.read_variables(own / name / "checkpoints")
    missing = [key for key in ("class_names", "class_counts", "image_shape") if key not in note]
    if missing:
        raise UserError(f"{own / name} was saved by an older gcl_jax and lacks {', '.join(missing)}: train it again")
    return Trained(
        config,
        name,
        (variables["params"], variables["batch_stats"], variables["method_state"]),
        tuple(note["class_names"]),
        np.asarray(note["class_counts"]),
        tuple(note["image_shape"]),
        step,
    )
