"""Evaluation: every example of a split once, in a few fixed-shape batches."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from gcl_jax import posthoc, stored_logits
from gcl_jax.data.loader import Loader
from gcl_jax.data.process_shard import ProcessShard
from gcl_jax.errors import UserError
from gcl_jax.methods import Apply, ClassInfo, Method
from gcl_jax.metrics import Predictions
from gcl_jax.runtime import mesh as mesh_lib
from gcl_jax.runtime import preemption
from gcl_jax.transforms import StageTransforms
from gcl_jax.typing import PyTree


def make_predict(apply: Apply, method: Method, transforms: StageTransforms, logit_adjustment: float = 0.0) -> Callable:
    """Build ``predict(variables, info, images)``: uint8 [B, H, W, c] -> {"logits" float32 [B, C], ...}.

    ``variables`` is ({"params", **model_state}, method_state); the result is `Method.predict`'s, averaged
    over the evaluation views. ``logit_adjustment`` is the tau of `posthoc.logit_adjust`, which reads the counts in
    ``info``; 0 is off.
    """

    def predict_view(variables: tuple, info: ClassInfo, images: jax.Array) -> dict[str, jax.Array]:
        network_variables, method_state = variables
        batch = {"image": images}
        out, _, _ = method.forward(None, apply, network_variables, method_state, batch, None, info, train=False)
        return method.predict(out, method_state, info)

    def predict(variables: tuple, info: ClassInfo, images: jax.Array) -> dict[str, jax.Array]:
        images = transforms.evaluate(images)
        views = [predict_view(variables, info, x) for x in (images if images.ndim == 5 else [images])]
        out = views[0] if len(views) == 1 else jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *views)
        if logit_adjustment:
            scores = {name: out[name] for name in ("logits", "experts") if name in out}
            adjusted = {name: posthoc.logit_adjust(z, info.counts, logit_adjustment) for name, z in scores.items()}
            out = {**out, **adjusted}
        return out

    return predict


def make_eval_step(
    apply: Apply,
    method: Method,
    transforms: StageTransforms,
    fetch: Callable[[PyTree, PyTree], tuple[jax.Array, jax.Array]],
    logit_adjustment: float = 0.0,
) -> Callable:
    """Build the jitted ``step(variables, info, arrays, item)`` -> {fields of `Predictions`, [B] each; "stored"}.

    "stored" are logits and experts of `make_predict` as `stored_logits.rounded` has them.
    """
    predict = make_predict(apply, method, transforms, logit_adjustment)

    def eval_step(variables: tuple, info: ClassInfo, arrays: PyTree, item: PyTree) -> dict[str, Any]:
        images, labels = fetch(arrays, item)
        out = predict(variables, info, images)
        logits = out["logits"]
        log_p = jax.nn.log_softmax(logits)
        label_logit = jnp.take_along_axis(logits, labels[:, None], axis=1)
        lower_index = jnp.arange(logits.shape[1]) < labels[:, None]  # of equal logits the first counts, as for argmax
        return {
            "label": labels,
            "predicted": jnp.argmax(logits, axis=1),
            "rank": jnp.sum((logits > label_logit) | (logits == label_logit) & lower_index, axis=1),
            "nll": -jnp.take_along_axis(log_p, labels[:, None], axis=1)[:, 0],
            "confidence": jnp.exp(jnp.max(log_p, axis=1)),
            "stored": stored_logits.rounded(out),
        }

    return jax.jit(eval_step)


def make_feature_step(apply: Apply, transforms: StageTransforms, fetch: Callable) -> Callable:
    """Build the jitted ``step(variables, arrays, item) -> (features [B, D], labels [B])``."""

    def step(variables: PyTree, arrays: PyTree, item: PyTree) -> tuple[jax.Array, jax.Array]:
        images, labels = fetch(arrays, item)
        return pooled(apply(variables, transforms.first_view(images), train=False)[0]), labels

    return jax.jit(step)


def pooled(out: dict[str, jax.Array]) -> jax.Array:
    """The features [B, D] of a network's output; UserError where neither its backbone nor its head gives any."""
    if "features" not in out:
        raise UserError(
            "the network gives no pooled features, of which class means and embeddings are made: let the backbone fill "
            'Features.pooled, or the head return "features" [B, D] beside its scores'
        )
    return out["features"]


def whole_split(num: int, batch_size: int) -> np.ndarray:
    """A plan that visits 0..num-1 in order, int32[batches, batch_size]; the last row is padded with 0.

    >>> whole_split(3, 2).tolist()
    [[0, 1], [2, 0]]
    """
    rows = -(-num // batch_size)
    return np.pad(np.arange(num, dtype=np.int32), (0, rows * batch_size - num)).reshape(rows, batch_size)


def run(step: Callable, loader: Loader, mesh: Mesh, split: str, num: int, batch_size: int) -> Callable[[], Any]:
    """Dispatch ``step(arrays, item) -> pytree of [B, ...]`` over a whole split.

    Calling the result waits and returns numpy arrays of length ``num``; until then the device can do other work. Raises
    `preemption.Stopped` between two batches where a stop is due.
    """
    batches = []
    for batch in _dispatched(step, loader, mesh, split, num, batch_size):
        batches.append(batch)
        jax.block_until_ready(batch)  # two in flight keep a device busy; more only take memory
    return lambda: jax.tree.map(lambda *parts: np.concatenate(parts)[:num], *jax.device_get(batches))


def _dispatched(step: Callable, loader: Loader, mesh: Mesh, split: str, num: int, batch_size: int) -> Iterator[Any]:
    """``step``'s output for each batch of a split, on the devices; one batch is dispatched ahead."""
    arrays, shard = loader.arrays(split), ProcessShard(mesh_lib.over_batch(mesh), [batch_size])
    previous = None
    for row in loader.rows(split, {"eval": shard.take(whole_split(num, batch_size), axis=1)}):
        preemption.check()
        batch = mesh_lib.fetchable(step(arrays, shard.place(row["eval"])), mesh)
        if previous is not None:
            yield previous
        previous = batch
    yield previous


def predict(
    step: Callable, variables: tuple, info: ClassInfo, loader: Loader, mesh: Mesh, split: str, num: int, batch_size: int
) -> Callable[[], Predictions]:
    """Dispatch the evaluation of a whole split; calling the result fetches its `Predictions`."""

    def predictions_only(arrays: PyTree, item: PyTree) -> dict[str, jax.Array]:
        return {name: value for name, value in step(variables, info, arrays, item).items() if name != "stored"}

    fetch = run(predictions_only, loader, mesh, split, num, batch_size)
    return lambda: Predictions(**fetch())


def logits(
    step: Callable, variables: tuple, info: ClassInfo, loader: Loader, mesh: Mesh, split: str, num: int, batch_size: int
) -> Iterator[dict[str, np.ndarray]]:
    """The logits of a split in order, batch by batch, as `stored_logits.rounded` has them.

    From the same program as `predict`, so that they are those of its predictions.
    """

    def logits_only(arrays: PyTree, item: PyTree) -> dict[str, jax.Array]:
        return step(variables, info, arrays, item)["stored"]

    remaining = num
    for batch in _dispatched(logits_only, loader, mesh, split, num, batch_size):
        yield jax.tree.map(lambda part, n=remaining: part[:n], jax.device_get(batch))
        remaining -= batch_size


def features(
    step: Callable, variables: PyTree, loader: Loader, mesh: Mesh, split: str, num: int, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Features float32[N, D] and labels int32[N] of a split in eval mode, without augmentation."""
    return run(lambda arrays, item: step(variables, arrays, item), loader, mesh, split, num, batch_size)()


def class_means(features: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Mean feature of each class, float64[C, D]; ``labels`` int[N] hold every class.

    On the host and in float64, as the sums of whole data sets need; `posthoc.class_centroids` is its traced twin.

    >>> class_means(np.array([[1.0], [3.0], [5.0]]), np.array([0, 0, 1]), 2).tolist()
    [[2.0], [5.0]]
    """
    sums = np.zeros((num_classes, features.shape[1]))
    np.add.at(sums, labels, features.astype(np.float64))
    return sums / np.bincount(labels, minlength=num_classes)[:, None]
