"""One stage of training: built once from config, run once per seed, or for several seeds side by side."""

import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax.sharding import Mesh
from ml_collections import ConfigDict

from gcl_jax import config as config_lib
from gcl_jax import logs, metrics, optim, rng, sampling
from gcl_jax.checkpoints import class_check, warm_start
from gcl_jax.config.transforms import batch_streams, build_transforms
from gcl_jax.data import Dataset
from gcl_jax.data.loader import Loader
from gcl_jax.errors import UserError, require_one_of
from gcl_jax.methods import ClassInfo
from gcl_jax.runtime import backend, distributed, memory, preemption
from gcl_jax.runtime import mesh as mesh_lib
from gcl_jax.training import evaluate, non_finite, train_step
from gcl_jax.training.input_pipeline import InputPipeline
from gcl_jax.training.network_apply import NetworkApply
from gcl_jax.training.networks import build_network
from gcl_jax.training.param_labels import constant_arrays, stage_labels
from gcl_jax.training.train_state import RESERVED, TrainState, from_saved, require_savable
from gcl_jax.typing import PyTree


class Stage:
    """A stage's network, method, optimizer and compiled steps; seeds come in when it runs, ``seeds`` at once.

    Raises UserError for a config that does not fit the data or the network: channels, blocks, too few images.
    """

    def __init__(self, config: ConfigDict, name: str, dataset: Dataset, loader: Loader, mesh: Mesh, seeds: int = 1):
        block = config[name]
        self.name, self.dataset, self.loader, self.mesh, self.seeds = name, dataset, loader, mesh, seeds
        self.config, self.block = config, block
        self.method = config_lib.build_method(block.method.to_dict(), f"config.{name}.method")
        sampler = config_lib.build_sampler(block.sampler.to_dict(), f"config.{name}.sampler")
        self.eval_batch_size = mesh_lib.padded_batch(backend.eval_batch_size(config.eval.batch_size), mesh)
        with config_lib.prefix_errors(f"config.{name}."):
            steps_per_epoch = sampling.steps_per_epoch(len(dataset.splits["train"]), block.batch_size)
        if block.epochs > (max_epochs := (2**31 - 1) // steps_per_epoch):  # steps are int32
            raise UserError(
                f"config.{name}.epochs is {block.epochs}; at {steps_per_epoch} steps an epoch it must be at most "
                f"{max_epochs}"
            )
        self.settings = train_step.StepSettings(
            epochs=block.epochs,
            steps_per_epoch=steps_per_epoch,
            log_every=config.log.every_steps,
            schedule=config_lib.make_schedule(block, steps_per_epoch),
            micro_batches=block.micro_batches,
            ema_decay=block.ema_decay,
        )
        self.steps_per_call = backend.steps_per_call(
            config.steps_per_call, max_steps=min(steps_per_epoch, config.log.every_steps), resident=loader.resident
        )
        # As many for any steps_per_call and log.every_steps: one program, and the same bits.
        rows = backend.LOOP_ROWS if backend.loops(resident=loader.resident) else 1
        transforms = build_transforms(config, name, self.method)
        self.input_pipeline = InputPipeline(
            name, dataset.splits["train"], loader, mesh,
            streams=batch_streams(self.method, transforms.mix), sampler=sampler,
            batch_size=block.batch_size, epochs=block.epochs, seeds=seeds, rows=rows,
        )  # fmt: skip
        self.network = build_network(config, name, dataset.num_classes)
        self.image_shape = dataset.splits["train"].images.shape[1:]
        data = config.data
        if len(data.mean) != self.image_shape[-1]:
            raise UserError(
                f"config.data.mean has {len(data.mean)} entries but the images have {self.image_shape[-1]} channels"
            )
        one_image = jax.ShapeDtypeStruct((1, *self.image_shape), jnp.uint8)
        self._input_shape = jax.eval_shape(transforms.first_view, one_image).shape[1:]  # transforms may resize
        self.apply = NetworkApply(self.network, block.bn, block.bn_scope)
        shapes = jax.eval_shape(self._init_network, jax.random.key(0))
        if taken := sorted((set(shapes) - {"params"}) & set(RESERVED)):
            raise UserError(
                f"the network keeps a collection called {taken[0]!r}, which is another part of a checkpoint: give it "
                "another name"
            )
        blocks = {path[0] for path in traverse_util.flatten_dict(shapes["params"]["backbone"]) if len(path) > 2}
        if block.bn_scope:
            require_one_of(f"config.{name}.bn_scope", block.bn_scope, sorted(blocks))
        self.restores = warm_start.restored_by(block.restore)
        self._collections = tuple(shapes)
        self._paths = tuple(traverse_util.flatten_dict(shapes["params"]))
        self.labels, groups = stage_labels(name, block, shapes)
        self.freezes = optim.FROZEN in jax.tree.leaves(self.labels)
        self.constant_arrays = constant_arrays(block, self.labels, shapes["batch_stats"])
        self.optimizer = optim.make_optimizer(
            config_lib.build_optimizer(block.optimizer.to_dict(), f"config.{name}.optimizer"),
            self.labels,
            groups,
            weight_decay=block.optimizer.weight_decay,
            clip_norm=block.optimizer.clip_norm,
        )
        update = train_step.make_update(
            self.apply,
            self.method,
            config_lib.build_gradient_rule(block.gradient.to_dict(), f"config.{name}.gradient"),
            self.optimizer,
            self.labels,
            transforms,
            loader.fetch,
            self.settings,
        )
        self.skips = config.non_finite.action == "skip"
        if self.skips:
            update = non_finite.skip_nonfinite(update, lambda step: train_step.restarts(step, self.settings))
        self.step = train_step.make_train_step(update, mesh, rows=rows, seeds=seeds)
        self._compiled: jax.stages.Compiled | None = None
        self._init = jax.jit(self._init_network)
        self._unstack = jax.jit(
            lambda stacked: [jax.tree.map(lambda leaf, i=i: leaf[i], stacked) for i in range(seeds)],
            out_shardings=mesh_lib.replicated(mesh),
        )
        self.eval_step = evaluate.make_eval_step(
            self.apply,
            self.method.after_training(config.posthoc),
            transforms,
            loader.fetch,
            config.posthoc.logit_adjustment,
        )
        self.feature_step = evaluate.make_feature_step(self.apply, transforms, loader.fetch)

    def trained(self, params: PyTree) -> dict:
        """The part of a complete parameter tree that trains."""
        return optim.trained_leaves(params, self.labels)

    def _init_network(self, key: jax.Array) -> dict:
        images = jnp.zeros((1, *self._input_shape), jnp.float32)
        variables = self.network.init(key, images, train=False)
        return {"params": variables["params"], "batch_stats": {}, **variables}

    def info(self, variables: dict | None = None) -> ClassInfo:
        """Class statistics as arguments of the steps; features where the method needs them and variables exist."""
        counts = self.dataset.counts
        needed = {}
        if variables and self.method.needs:
            features, labels = self.features(variables, "train")
            means = evaluate.class_means(features, labels, self.dataset.num_classes)
            available: dict[str, PyTree] = {
                "class_means": means.astype(np.float32),
                "train_features": (features, labels),
            }
            needed = {name: available[name] for name in self.method.needs}
        constants = {k: np.asarray(v, np.float32) for k, v in self.method.constants(counts).items()}
        arrays = {"counts": counts.astype(np.float32), "constants": constants, **needed}
        return ClassInfo(**self.replicate(arrays))

    def features(self, variables: dict, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Features float32[N, D] and labels int32[N] of a split under ``variables``, in eval mode."""
        variables = {name: variables[name] for name in self._collections}
        return evaluate.features(
            self.feature_step, variables, self.loader, self.mesh,
            split, len(self.dataset.splits[split]), self.eval_batch_size,
        )  # fmt: skip

    def replicate(self, tree: PyTree) -> PyTree:
        """``tree`` on all devices."""
        return mesh_lib.place(tree, mesh_lib.replicated(self.mesh))

    def restore_variables(self, seed: int, loaded: dict | None, origin: str) -> tuple[dict, tuple[str, ...]]:
        """A run's variables, fresh but for what it restores from ``loaded``, and the digests that identify its start.

        The first digest is of the restored part: seed and config determine the rest, whose last bits differ between
        kinds of CPU. The second is of all variables, which older versions wrote.
        """
        variables = self._init(rng.fold(rng.fold(jax.random.key(seed), self.name), "network"))
        if loaded is None:
            return variables, ("random",)
        variables = self._restore(jax.device_get(variables), loaded, origin)
        restored = warm_start.restored_part(variables, self.restores)
        return variables, (warm_start.digest(restored), warm_start.digest(variables))

    def require_classes(self, class_names: Sequence[str] | None, origin: str) -> None:
        """Raise UserError if the whole network in ``origin`` is one for other classes than the data's."""
        hint = "Give the data the classes that it was trained on, in that order"
        class_check.require_same(class_names, self.dataset.class_names, origin, hint)

    def check_start(self, loaded: dict, origin: str) -> None:
        """Raise UserError unless a run can restore from ``loaded``; log a note where its class names are unknown."""
        self._restore(self._fresh(), loaded, origin)
        if self._restores_head() and (
            message := class_check.unknown(loaded.get("class_names"), self.dataset.class_names)
        ):
            logs.log_info(f"note: {origin} {message}: they are taken to be the same, in the same order")

    def _restore(self, fresh: dict, loaded: dict, origin: str) -> dict:
        """``fresh`` variables with the part that the stage restores from ``loaded``."""
        if self._restores_head():
            hint = "Give the data the same classes in the same order"
            if optim.FROZEN not in jax.tree.leaves(self.labels["head"]):  # which would stay at a random start
                hint += f", or take the backbone alone with --config.{self.name}.restore=backbone/"
            class_check.require_same(loaded.get("class_names"), self.dataset.class_names, origin, hint)
        return warm_start.restore_variables(fresh, loaded, self.restores, origin)

    def _restores_head(self) -> bool:
        return any(path[0] == "head" and self.restores(path) for path in self._paths)

    def _fresh(self) -> dict:
        """Variables of the network's shapes; all values are 0."""
        fresh = jax.eval_shape(self._init_network, jax.random.key(0))
        return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), fresh)

    def start(
        self, seed: int, loaded: dict | None, origin: str
    ) -> tuple[TrainState, train_step.StepInputs, tuple[str, ...]]:
        """Initial state and step inputs of a run, and the digests of its start (see `restore_variables`)."""
        key = rng.fold(jax.random.key(seed), self.name)
        variables, started_from = self.restore_variables(seed, loaded, origin)
        variables = self.replicate(variables)
        info = self.info(variables)
        state, info = self._init_state(key, variables, info)
        inputs = train_step.StepInputs(key, info, self.loader.arrays("train"))
        # A copy, since the step donates its state, whose leaves may share buffers.
        return self.replicate(jax.tree.map(jnp.copy, state)), self.replicate(inputs), started_from

    def _init_state(self, key: jax.Array, variables: dict, info: ClassInfo) -> tuple[TrainState, ClassInfo]:
        """A run's state and class statistics; pure, so that `shapes` can trace it without data."""
        params = self.method.init_params(rng.fold(key, "parameters"), variables, info)
        method_state = self.method.init_state(rng.fold(key, "state"), {**variables, "params": params}, info)
        # A weak type, as of `jnp.full(n, 0.5)`, would be another program's than that of what the first step returns.
        method_state = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.asarray(leaf).dtype), method_state)
        model_state = {name: tree for name, tree in variables.items() if name != "params"}
        state = TrainState(
            step=jnp.int32(0),
            params=params,
            model_state=model_state,
            opt_state=self.optimizer.init(params),
            method_state=method_state,
            ema=optim.init_ema(params, self.labels, self.settings.ema_decay),
            metric_sums=train_step.empty_metric_sums(self.method),
            first_nonfinite=non_finite.empty_record(self.trained(params), model_state, method_state),
        )
        if self.skips:
            state = state.replace(skipped=non_finite.empty_skip_record(self.config.non_finite.max_skips, state))
        require_savable(state)
        return state, info.replace(train_features=None)  # large, and only init_params needs them

    def shapes(self) -> tuple[TrainState, train_step.StepInputs]:
        """The shapes of what `start` returns, the same for all seeds; only the data set's arrays are real."""
        key = jax.random.key(0)
        variables = jax.eval_shape(self._init_network, key)
        info = self.info()
        if self.method.needs:
            features = self._features(variables)
            means = jax.ShapeDtypeStruct((self.dataset.num_classes, *features.shape[1:]), np.float32)
            labels = jax.ShapeDtypeStruct(features.shape[:1], np.int32)
            available: dict[str, PyTree] = {"class_means": means, "train_features": (features, labels)}
            info = info.replace(**{name: available[name] for name in self.method.needs})
        state, info = jax.eval_shape(self._init_state, key, variables, info)
        key = jax.eval_shape(jax.random.key, 0)
        return state, train_step.StepInputs(key, info, self.loader.arrays("train"))

    def _features(self, variables: dict) -> jax.ShapeDtypeStruct:
        images = jax.ShapeDtypeStruct((len(self.dataset.splits["train"]), *self._input_shape), np.float32)
        out = jax.eval_shape(lambda v, x: self.apply(v, x, train=False)[0], variables, images)
        return evaluate.pooled(out)

    def stack(self, trees: Sequence[PyTree]) -> PyTree:
        """Stack the states or step inputs of all seeds: a leading seed axis on all but the data set's arrays."""
        if isinstance(trees[0], train_step.StepInputs):
            key, info = self.stack([(inputs.key, inputs.info) for inputs in trees])
            return train_step.StepInputs(key, info, trees[0].arrays)
        return mesh_lib.place(jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees), mesh_lib.over_seeds(self.mesh))

    def unstack(self, stacked: PyTree) -> list[PyTree]:
        """The inverse of `stack` for states, each on all devices; with one seed there is no seed axis to take apart."""
        return [stacked] if self.seeds == 1 else self._unstack(stacked)

    def compile(self) -> Callable:
        """The train step, compiled ahead of time and once; logs the time and memory it needs.

        With ``debug_nans`` it is the jitted step, which JAX can rerun operation by operation.
        Raises UserError if it needs more memory than a device has.
        """
        if self.config.debug_nans:
            return self.step
        if self._compiled is None:
            started = time.monotonic()
            block = next(self.input_pipeline.blocks([0] * self.seeds, 0, 0, [1]))
            state, inputs = self.shapes()
            if self.seeds > 1:
                state, inputs = self._stacked(state), self._stacked(inputs).replace(arrays=inputs.arrays)
            self._compiled = self.step.lower(state, inputs, block, np.int32(1)).compile()
            needed = memory.needed(self._compiled)
            logs.log_info(
                f"{logs.named(self.name)}: step compiled in {time.monotonic() - started:.1f} s, "
                f"needs {memory.text(needed)} of memory a device"
            )
            hint = "choose a smaller batch_size" + (" or seeds_at_once" if self.seeds > 1 else "")
            stage = f"config.{self.name}"
            distributed.all_or_raise(lambda: memory.require(needed, stage, hint, memory.available()))
            preemption.check()  # for a signal that arrived while XLA was busy
        return self._compiled

    def _stacked(self, tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((self.seeds, *leaf.shape), leaf.dtype), tree)

    def from_saved(self, tree: dict) -> TrainState:
        """The state of a checkpoint's ``tree`` (see `train_state.to_save`)."""
        state = from_saved(tree, {})
        empty = non_finite.empty_record(self.trained(state.params), state.model_state, state.method_state)
        return state.replace(first_nonfinite=self.replicate(empty))

    def variables(self, state: TrainState) -> tuple:
        """({"params", **model_state}, method_state) as evaluation takes them: moving averages where there are any."""
        return {"params": optim.with_ema(state.params, state.ema), **state.model_state}, state.method_state

    def checked(self, loaded: dict, origin: str) -> tuple:
        """``loaded`` variables as evaluation takes them; UserError if they are of another model or other classes."""
        self.require_classes(loaded.get("class_names"), origin)
        variables = warm_start.restore_variables(self._fresh(), loaded, lambda path: True, f"config.{self.name}")
        return self.replicate((variables, loaded.get("method_state", {})))

    def evaluate(
        self, variables: tuple, info: ClassInfo, splits: Sequence[str] = ("test", "validation")
    ) -> Callable[[], dict[str, metrics.Predictions]]:
        """Dispatch the evaluation of those ``splits`` that exist; calling the result fetches their predictions."""
        fetches = {
            name: evaluate.predict(
                self.eval_step, variables, info, self.loader, self.mesh, name, len(split), self.eval_batch_size
            )
            for name, split in self.dataset.splits.items()
            if name in splits
        }
        return lambda: {name: fetch() for name, fetch in fetches.items()}
