"""The one jitted, differentiated function of training."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh

from gcl_jax import optim, rng
from gcl_jax.gradients import GradientRule, StepAux
from gcl_jax.methods import Apply, ClassInfo, Method, StepInfo
from gcl_jax.methods.objective import objective
from gcl_jax.runtime import backend
from gcl_jax.runtime import mesh as mesh_lib
from gcl_jax.training import non_finite
from gcl_jax.training.train_state import TrainState
from gcl_jax.transforms import StageTransforms
from gcl_jax.typing import PyTree


class StepInputs(struct.PyTreeNode):
    """Arguments of the step that do not change.

    They are never donated, and never closed over, since a captured array becomes a constant of the program.
    """

    key: jax.Array  # the stage's root key
    info: ClassInfo
    arrays: PyTree  # the loader's resident arrays, or {}


@dataclasses.dataclass(frozen=True)
class StepSettings:
    """Hyper-parameters of the step, all static."""

    epochs: int
    steps_per_epoch: int
    log_every: int  # steps; the sums also end with each epoch
    schedule: optax.Schedule  # step, from 0 -> learning rate
    micro_batches: int = 1  # whose mean gradient makes one update
    ema_decay: float = 0.0  # 0 = no moving average of the parameters


def make_update(
    apply: Apply,
    method: Method,
    rule: GradientRule,
    optimizer: optax.GradientTransformationExtraArgs,
    param_labels: PyTree,
    transforms: StageTransforms,
    fetch: Callable[[PyTree, PyTree], tuple[jax.Array, jax.Array]],
    settings: StepSettings,
) -> Callable[[TrainState, StepInputs, dict], TrainState]:
    """Build ``update(state, inputs, row) -> state``: one step; ``row`` is {stream: item for the loader's fetch}.

    Gather, transforms, mix, forward, loss, gradient and update: a pure function, which `make_train_step` compiles.
    ``optimizer`` and ``param_labels`` are those of `optim.make_optimizer`, over the complete parameter tree.
    """

    def update(state: TrainState, inputs: StepInputs, row: dict) -> TrainState:
        step_key = rng.fold(inputs.key, "step", state.step)
        t = StepInfo.at(
            state.step,
            epochs=settings.epochs,
            steps_per_epoch=settings.steps_per_epoch,
            learning_rate=settings.schedule(state.step),
        )

        def gradient(mutable_state, row, key):
            model_state, method_state = mutable_state
            batches = {}
            for name in row:
                images, labels = fetch(inputs.arrays, row[name])
                images = transforms.train(name, rng.fold(key, "augment", name), images, t)
                batches[name] = {"image": images, "label": labels}
            if transforms.mix:
                batches = transforms.mix(rng.fold(key, "mix"), batches, t)
            batch = method.prepare(rng.fold(key, "prepare"), batches, t)

            def run(params, model_state, example_weights=None):
                params = optim.keep_frozen(params, state.params, param_labels)  # wherever the rule looks

                def value(params):
                    variables = {"params": optim.stop_frozen(params, param_labels), **model_state}
                    out, new_model_state, new_method_state = method.forward(
                        rng.fold(key, "forward"), apply, variables, method_state, batch, t, inputs.info, train=True
                    )
                    terms = objective(method, rng.fold(key, "loss"), out, batch, t, inputs.info)
                    loss = terms.loss
                    if example_weights is not None:
                        loss = jnp.mean(example_weights * terms.per_example) + terms.aux_loss
                    return loss, StepAux(new_model_state, new_method_state, {"loss": terms.loss, **terms.metrics})

                return jax.grad(value, has_aux=True)(params)

            grads, aux = rule(rng.fold(key, "gradient"), run, state.params, model_state, batch, t, inputs.info)
            return (aux.model_state, aux.method_state), (grads, aux.metrics)

        mutable_state = (state.model_state, state.method_state)
        if settings.micro_batches > 1:
            (model_state, method_state), (grads, metrics) = accumulate(
                gradient, mutable_state, row, step_key, settings.micro_batches
            )
        else:
            (model_state, method_state), (grads, metrics) = gradient(mutable_state, row, step_key)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params, learning_rate=t.learning_rate)
        params = optim.apply_updates(state.params, updates, param_labels)
        projected, method_state = method.after_update(params, method_state, t, inputs.info)
        params = optim.keep_frozen(projected, params, param_labels)
        updated = (optim.trained_leaves(params, param_labels), model_state, method_state)
        return TrainState(
            step=state.step + 1,
            params=params,
            model_state=model_state,
            opt_state=opt_state,
            method_state=method_state,
            ema=optim.update_ema(state.ema, params, param_labels, settings.ema_decay),
            metric_sums=add_to_metric_sums(state.metric_sums, metrics, restart=restarts(state.step, settings)),
            first_nonfinite=non_finite.record_first(state.first_nonfinite, state.step + 1, metrics, updated),
        )

    return update


def accumulate(
    gradient: Callable, mutable_state: PyTree, row: PyTree, key: jax.Array, micro_batches: int
) -> tuple[PyTree, PyTree]:
    """Run ``gradient(mutable_state, row, key) -> (mutable_state, tree)`` over ``micro_batches`` in turn.

    Returns the last mutable state and the mean of the trees.

    A micro-batch holds every ``micro_batches``-th example, so that no example changes its device. Batch norm, mixup and
    weighted means see a micro-batch at a time; running statistics and the method's state move with each.
    """
    n = micro_batches
    rows = jax.tree.map(lambda x: jnp.swapaxes(x.reshape(len(x) // n, n, *x.shape[1:]), 0, 1), row)
    keys = jax.vmap(lambda i: rng.fold(key, "micro", i))(jnp.arange(n))
    mutable_state, trees = jax.lax.scan(
        lambda mutable_state, row_and_key: gradient(mutable_state, *row_and_key), mutable_state, (rows, keys)
    )
    return mutable_state, jax.tree.map(lambda x: jnp.mean(x, axis=0), trees)


def make_train_step(
    update: Callable[[TrainState, StepInputs, dict], TrainState], mesh: Mesh, *, rows: int, seeds: int = 1
) -> jax.stages.Wrapped:
    """Jit ``step(state, inputs, block, n) -> (state, metrics)``: ``n`` <= ``rows`` updates in one dispatch.

    ``block`` holds ``rows`` rows of the plan, of which the first ``n`` (int32, traced) are used: one program,
    and the same bits, however a stage is divided into dispatches. With ``rows`` = 1 there is no loop in it. With
    ``seeds`` > 1 everything but the data set and ``n`` has a leading seed axis: independent replicates
    side by side, over the mesh's 'seed' axis. The state is donated; ``metrics`` is a copy of its metric sums,
    and of the records of its first non-finite step and of those that were skipped.
    """

    def train_step(state: TrainState, inputs: StepInputs, block: dict, n: jax.Array) -> tuple[TrainState, dict]:
        def update_with_row(i, state):
            return update(state, inputs, jax.tree.map(lambda leaf: leaf[i], block))

        state = jax.lax.fori_loop(0, n, update_with_row, state) if rows > 1 else update_with_row(0, state)
        return state, {**state.metric_sums, "first_nonfinite": state.first_nonfinite, "skipped": state.skipped}

    replicated = mesh_lib.replicated(mesh)
    per_seed = replicated
    if seeds > 1:
        train_step = jax.vmap(train_step, in_axes=(0, _prefix(0, 0, None), 0, None))
        per_seed = mesh_lib.over_seeds(mesh)
    return jax.jit(
        train_step,
        donate_argnums=0,
        in_shardings=(per_seed, _prefix(per_seed, per_seed, replicated), block_sharding(mesh, seeds), replicated),
        out_shardings=(per_seed, replicated),  # every process logs from the metric sums
        compiler_options=backend.compiler_options(),
    )


def _prefix(key: PyTree, info: PyTree, arrays: PyTree) -> PyTree:
    """A prefix of the tree `StepInputs`, such as a sharding for each field."""
    return StepInputs(key, info, arrays)


def block_sharding(mesh: Mesh, seeds: int) -> jax.sharding.NamedSharding:
    """The sharding of a block's batches: [steps, B, ...], or [seeds, steps, B, ...]."""
    return mesh_lib.over_batch(mesh, leading=1 if seeds == 1 else 2, seeds=seeds > 1)


def restarts(step: jax.Array, settings: StepSettings) -> jax.Array:
    """Whether the metric sums restart with the update of ``step``, counted from 0."""
    return step % settings.steps_per_epoch % settings.log_every == 0


def empty_metric_sums(method: Method) -> dict[str, jax.Array]:
    """Metric sums before the first step."""
    return {name: jnp.float32(0) for name in ("count", "loss", *method.logged)}


def add_to_metric_sums(metric_sums: dict, metrics: dict, *, restart: jax.Array) -> dict:
    """Add a step's scalars to the running sums {"count", name: sum, ...}; ``restart`` forgets the old ones first."""
    now = {"count": jnp.float32(1), **{k: jax.lax.stop_gradient(v).astype(jnp.float32) for k, v in metrics.items()}}
    return {k: jnp.where(restart, 0, metric_sums[k]) + v for k, v in now.items()}
