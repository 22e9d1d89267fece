"""A trained network as a function: what a run's folder holds, without the data that it was trained on."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from gcl_jax import config as config_lib
from gcl_jax import json_files, paths
from gcl_jax.checkpoints import checkpoint
from gcl_jax.config import migrate, validation
from gcl_jax.config.transforms import eval_transforms
from gcl_jax.data import holds_photographs
from gcl_jax.errors import UserError, require, require_readable
from gcl_jax.methods import ClassInfo
from gcl_jax.paths import done_file
from gcl_jax.runtime import backend
from gcl_jax.training import evaluate
from gcl_jax.training.network_apply import NetworkApply
from gcl_jax.training.networks import build_network
from gcl_jax.workdir import ownership


@dataclasses.dataclass(frozen=True)
class Trained:
    """One stage's network: ({"params", **model_state}, method_state), its run's config, and what it was trained on.

    ``image_shape`` is (H, W, c) of the uint8 images that it takes, ``counts`` the training images of each class.
    ``seeds`` are the folders of a run of several, this network's first.
    """

    config: ConfigDict
    stage: str
    variables: tuple
    class_names: tuple[str, ...]
    counts: np.ndarray
    image_shape: tuple[int, int, int]
    step: int
    seeds: tuple[str, ...] = ()

    def described(self, workdir: str) -> str:
        """For people: whose network this is, which of several seeds', and the rules after training that it is under."""
        rules = {k: v for k, v in self.config.posthoc.to_dict().items() if v != config_lib.TOP["posthoc"][k]}
        under = "".join(f", posthoc.{key} = {value:g}" for key, value in rules.items())
        seed, *others = self.seeds or ("",)
        which = f"{workdir.rstrip('/')}/{seed}" if seed else workdir
        more = f" (for another seed name its folder: {', '.join(others)})" if others else ""
        return f"{self.stage} of {which}, step {self.step}{under}{more}"

    @property
    def resize(self) -> int:
        """The shorter side of an image before its center is cropped to `image_shape`, as in evaluation."""
        height, width, _ = self.image_shape
        return self.config.data.photos.resize if holds_photographs(self.config.data.source) else min(height, width)

    def probabilities(self) -> Callable[[tuple, jax.Array], jax.Array]:
        """The pure function (variables, uint8[B, H, W, c]) -> float32[B, C]: softmax at the method's scale.

        As evaluation has it: normalization of pixels and the config's post-hoc rules are inside.
        """
        block = self.config[self.stage]
        method = config_lib.build_method(block.method.to_dict(), f"config.{self.stage}.method")
        network = build_network(self.config, self.stage, len(self.class_names))
        predict = evaluate.make_predict(
            NetworkApply(network, block.bn),
            method.after_training(self.config.posthoc),
            eval_transforms(self.config),
            self.config.posthoc.logit_adjustment,
        )

        constants = {name: jnp.asarray(c, jnp.float32) for name, c in method.constants(self.counts).items()}
        info = ClassInfo(jnp.asarray(self.counts, jnp.float32), constants)

        def probabilities(variables: tuple, images: jax.Array) -> jax.Array:
            with backend.matmul_precision(self.config.precision):
                return jax.nn.softmax(predict(variables, info, images)["logits"])

        return probabilities


def locate(folder: str, stage: str = "", *, first: bool = False) -> tuple[ConfigDict, epath.Path, str]:
    """(config, folder of the seed, stage) of a run; of several seeds the first, by default the last finished stage.

    A stage that is named may still train. Raises UserError if ``folder`` holds no run, or no checkpoint of ``stage``.
    """
    require(bool(folder), "--workdir", folder, "the folder of a run")
    root = paths.given(folder)
    require_readable([root])
    if not root.exists():
        raise UserError(f"--workdir={folder}: there is no folder {root}")
    if around := ownership.stage_around(root):
        run, seed_folder = around
        raise UserError(
            f"--workdir={folder} is of a stage, {seed_folder}: name its run, --workdir={run} --stage={seed_folder}"
        )
    file = next((f for f in (root / "config.json", root.parent / "config.json") if f.exists()), None)
    if file is None:
        raise UserError(f"--workdir={folder} holds no config.json: name the folder of a run")
    config = _config_in(file)
    ownership.require_readable([root, root / f"seed_{config.seed}"], config.stages)
    seed_folder = root / f"seed_{config.seed}" if (root / f"seed_{config.seed}").exists() else root
    there = [name for name in config.stages if paths.matching(seed_folder / name / "checkpoints", "[0-9]*")]
    finished = [name for name in there if done_file(seed_folder, name).exists()]
    name = stage or (finished[0 if first else -1] if finished else "")
    if name not in there:
        others = [seed for seed in seeds_in(root) if seed != seed_folder.name]
        raise UserError(
            f"{seed_folder} holds {'no checkpoint of ' + name if name else 'no finished stage'}: train it first, or "
            "name "
            + ("another --stage" if not others else f"another --stage or seed, such as --workdir={root / others[0]}")
        )
    return config, seed_folder, name


def seeds_in(root: epath.Path) -> list[str]:
    """The folders of the seeds of a run of several, in order; none of another."""
    seeds = [path.name for path in paths.matching(root, "seed_[0-9]*") if path.name.removeprefix("seed_").isdecimal()]
    return sorted(seeds, key=lambda name: int(name.removeprefix("seed_")))


def _config_in(file: epath.Path) -> ConfigDict:
    """The config in a run's config.json; UserError that names the file where it is none."""
    content = json_files.read(file, shape={"config": dict})["config"]
    try:
        config = migrate.with_defaults(ConfigDict(content))
        validation.validate(config)
    except UserError as error:
        raise UserError(f"{file}: {error}") from error
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:  # of types that none has
        raise json_files.damaged(file, f"its config is none: {error}") from error
    return config


def read(folder: str, stage: str = "") -> Trained:
    """The network in ``folder``, a run's or one of its seeds'; by default of the last finished stage.

    Raises UserError if ``folder`` holds no run or its checkpoint lacks what it was trained on.
    """
    config, seed_folder, name = locate(folder, stage)
    variables, note, step = checkpoint.read_variables(seed_folder / name / "checkpoints")
    network_variables = {name: tree for name, tree in variables.items() if name != "method_state"}
    missing = [key for key in ("class_names", "class_counts", "image_shape") if key not in note]
    if missing:
        raise UserError(
            f"{seed_folder / name} was saved by an older gcl_jax and lacks {', '.join(missing)}: train it again"
        )
    several = seeds_in(seed_folder.parent) if seed_folder != paths.given(folder) else []
    return Trained(
        config,
        name,
        (network_variables, variables["method_state"]),
        tuple(note["class_names"]),
        np.asarray(note["class_counts"]),
        tuple(note["image_shape"]),
        step,
        tuple(sorted(several, key=lambda seed: seed != seed_folder.name)),
    )
