"""The contract of a method: pure functions that say what a stage trains, on what, and how.

A method is a frozen dataclass of hyper-parameters; every hook has a default, none reads
config, and everything array-like comes in as an argument. The step, the loop and the
experiment know this file only.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from gcl_jax.methods.apply import Apply, ModelState, Variables
from gcl_jax.ranges import check_fields
from gcl_jax.sampling import Sampler

Tree = Any

# Ranges of what several methods have.
SCALE = "[1e-6, 1e4]"  # multiplies scores
MIXUP_ALPHA = "0 or [1e-3, 1000]"
FOCAL_GAMMA = "[0, 100]"


@dataclasses.dataclass(frozen=True)
class Stream:
    """One stream of batches: its sampler (None = the stage's), its views, and what it augments beside crop and flip.

    With ``views`` > 1 every image is augmented that many times: [views, B, H, W, C]. Each view turns gray with
    probability ``grayscale``.
    """

    sampler: Sampler | None = None
    views: int = 1
    grayscale: float = 0.0


@struct.dataclass
class ClassInfo:
    """What is known of the classes, an argument of the step and never a constant of the program.

    ``counts`` float32[C]; ``constants`` is what `Method.constants` made of them; ``class_means``
    float32[C, D] and ``train_features`` (float32[N, D], int32[N] labels), in eval mode and without
    augmentation, are there for the `init_params` of methods that need them.
    """

    counts: jax.Array
    constants: dict[str, jax.Array]
    class_means: jax.Array | None = None
    train_features: tuple[jax.Array, jax.Array] | None = None


@struct.dataclass
class StepInfo:
    """Where training stands; every field is traced, so that schedules never recompile.

    ``step`` int32 counts updates of this stage, ``epoch`` int32 counts from 0 to ``epochs`` - 1, ``fraction``
    float32 = step / all steps, ``learning_rate`` float32 is the stage's at this step. ``epoch_start`` and
    ``epoch_end``, bool, say whether this step is the first or the last one of its epoch.
    """

    step: jax.Array
    epoch: jax.Array
    epochs: jax.Array
    steps_per_epoch: jax.Array
    fraction: jax.Array
    learning_rate: jax.Array
    epoch_start: jax.Array
    epoch_end: jax.Array

    @classmethod
    def at(cls, step: jax.Array, *, epochs: int, steps_per_epoch: int, learning_rate: jax.Array) -> "StepInfo":
        """The place of ``step``, int32 from 0, in a stage of ``epochs``."""
        within = step % steps_per_epoch
        return cls(
            step=step,
            epoch=step // steps_per_epoch,
            epochs=jnp.int32(epochs),
            steps_per_epoch=jnp.int32(steps_per_epoch),
            fraction=step.astype(jnp.float32) / (epochs * steps_per_epoch),
            learning_rate=learning_rate,
            epoch_start=within == 0,
            epoch_end=within == steps_per_epoch - 1,
        )


class LossOut(NamedTuple):
    """Losses float32[B]; ``weight`` [B] of a weighted mean; a scalar ``aux_loss``; scalars named in `Method.logged`."""

    per_example: jax.Array
    weight: jax.Array | None = None
    aux_loss: jax.Array | float = 0.0
    metrics: Mapping[str, jax.Array] = {}


@dataclasses.dataclass(frozen=True)
class Method:
    """Base of all methods; see docs/extending.md.

    Hyper-parameters are fields of type float, int, bool, str or tuple of numbers, each with a default; a number's is
    ``ranged(default, range)`` of `ranges`, or else it may be all that float32 or int32 hold.

    Which head it stands on, what trains and what is restored from the stage before are the stage's keys ``head``,
    ``trainable`` and ``restore``; a method names the heads that it works with, and defaults of the other two.
    """

    heads: ClassVar[tuple[str, ...]] = ()  # the heads that it works with, the default first; () = any
    # Defaults of the stage's keys of these names: regular expressions, matched from the start of a parameter's path.
    trainable: ClassVar[str] = ".*"
    restore: ClassVar[str] = r"backbone/|head/(feature_)?(kernel|bias)$"
    restores_classifier: ClassVar[bool] = False  # whether it goes on from a classifier, which restore then has to take

    # {"class_means", "train_features"}: what to take from one deterministic pass over the training set
    needs: ClassVar[frozenset[str]] = frozenset()
    requires_epochs: ClassVar[bool] = False  # whether evaluation takes what training made: 0 epochs are then refused
    experts: ClassVar[int] = 1  # how many of a backbone's experts `forward` names
    # Under mixup and the like a batch has ``targets`` ((labels, weight), ...). "linear": the loss is the weighted sum
    # of the losses of each; "own": `loss` reads the targets itself; "refused": it knows one label of an image.
    label_mixing: ClassVar[str] = "linear"
    posthoc: ClassVar[frozenset[str]] = frozenset()  # hyper-parameters that config.posthoc can change after training
    logged: ClassVar[tuple[str, ...]] = ()  # names of the scalars that `loss` returns in LossOut.metrics

    def __post_init__(self):
        check_fields(self)

    def after_training(self, posthoc: Mapping[str, float]) -> "Method":
        """The method as evaluation uses it: its `posthoc` hyper-parameters are config.posthoc's where those are set."""
        changed = {name: posthoc[name] for name in self.posthoc if posthoc[name] >= 0}
        return dataclasses.replace(self, **changed) if changed else self

    def streams(self) -> dict[str, Stream]:
        """Named batch streams; each has N // batch_size batches an epoch."""
        return {"main": Stream()}

    def constants(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Arrays derived from the class counts, computed once on the host in float64: clouds, margins, weights."""
        del counts
        return {}

    def init_params(self, key: jax.Array, variables: Variables, info: ClassInfo) -> Tree:
        """The parameters that the stage starts with: re-initialized, copied. Same structure as ``variables``' own."""
        del key, info
        return variables["params"]

    def init_state(self, key: jax.Array, variables: Variables, info: ClassInfo) -> Tree:
        """State of the method's own (a pytree of arrays): checkpointed, resumed, replicated."""
        del key, variables, info
        return {}

    def prepare(self, key: jax.Array, streams: dict[str, dict], t: StepInfo) -> dict:
        """Turn the streams into the batch of `forward` and `loss`.

        ``streams`` {name: {"image" float32[B, H, W, c], or [views, B, H, W, c]; "label" int32[B]}}.
        """
        del key, t
        return streams["main"]

    def forward(
        self,
        key: jax.Array | None,
        apply: Apply,
        variables: Variables,
        method_state: Tree,
        batch: dict,
        t: StepInfo | None,
        info: ClassInfo,
        *,
        train: bool,
    ) -> tuple[dict, ModelState, Tree]:
        """Run the network: (out, new model state, new method_state).

        In evaluation ``batch`` is {"image"}, and there is neither a ``key`` nor a time ``t``.
        """
        out, model_state = apply(variables, batch["image"], train=train, key=key)
        return out, model_state, method_state

    def loss(self, key: jax.Array, out: dict, batch: dict, t: StepInfo, info: ClassInfo) -> LossOut:
        """Per-example losses of a prepared batch; ``out`` is what `forward` returned, draws come from ``key``."""
        raise NotImplementedError

    def after_update(self, params: Tree, method_state: Tree, t: StepInfo, info: ClassInfo) -> tuple[Tree, Tree]:
        """(params, method_state) after the optimizer's update: a projection, an average. What is frozen stays so."""
        del t, info
        return params, method_state

    def logits(self, out: dict) -> jax.Array:
        """Logits [B, C] of what `forward` returned, without margin or noise."""
        return out["scores"]

    def predict(self, out: dict, method_state: Tree, info: ClassInfo) -> dict[str, jax.Array]:
        """{"logits" [B, C]} for prediction and probabilities; of several experts also "experts" [B, K, C]."""
        del method_state, info
        return {"logits": self.logits(out)}
