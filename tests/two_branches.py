"""The two-branch ResNet-32 of BBN and De-confound-TDE under its authors' names, and SGD steps of it in float64."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from gcl_jax import losses, models, optim
from gcl_jax.methods import StepInfo
from gcl_jax.training.network_apply import NetworkApply

DATASETS = {"cifar10": 10, "cifar100": 100}


def time(epoch, epochs, rate=0.1):
    return StepInfo.at(jnp.int32(epoch), epochs=epochs, steps_per_epoch=1, learning_rate=jnp.float32(rate))


def streams(label_c, label_r, image_c=None, image_r=None):
    return {"main": {"image": image_c, "label": label_c}, "reversed": {"image": image_r, "label": label_r}}


def variables(bbn_tde, dtype=jnp.float64, head=None):
    """The authors' initial network under our names."""
    flat = {}
    for name, value in bbn_tde.items():
        if not name.startswith("bbn/net/init/backbone.") or name.endswith("num_batches_tracked"):
            continue
        *block, layer, leaf = name.removeprefix("bbn/net/init/backbone.").split(".")
        place = [f"{block[0]}_{block[1]}" if len(block) == 2 else block[0]] if block else []
        kind = {
            "running_mean": ("batch_stats", "mean"),
            "running_var": ("batch_stats", "var"),
            "bias": ("params", "bias"),
            "weight": ("params", "kernel" if layer.startswith("conv") else "scale"),
        }[leaf]
        value = value.transpose(2, 3, 1, 0) if kind[1] == "kernel" else value
        flat[kind[0], "backbone", *place, layer, kind[1]] = jnp.asarray(value, dtype)
    if head is None:
        flat["params", "head", "kernel"] = jnp.asarray(bbn_tde["bbn/net/init/classifier.weight"].T, dtype)
        flat["params", "head", "bias"] = jnp.asarray(bbn_tde["bbn/net/init/classifier.bias"], dtype)
    else:
        flat["params", "head", "kernel"] = jnp.asarray(head.T, dtype)
    return traverse_util.unflatten_dict(flat)


def torch_name(path):
    """Our path -> the authors' name."""
    *place, leaf = path[1:]
    leaf = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}[leaf]
    place = [part.replace("_", ".") if part.startswith("layer") else part for part in place]
    return ".".join(["classifier" if path[0] == "head" else "backbone", *place, leaf])


def torch_layout(path, value):
    value = np.asarray(value)
    if path[-1] != "kernel":
        return value
    return value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T


def nhwc(images):
    return jnp.asarray(np.moveaxis(images, -3, -1), jnp.float64)


def run(method, head, state, steps, rate, weight_decay, nesterov):
    """SGD steps in float64: losses, first gradients, variables and method state after each."""
    network = models.build({"name": "resnet32", "experts": 2}, head, 10, jnp.float64)
    apply = NetworkApply(network, "train")
    params, batch_stats = state["params"], state["batch_stats"]
    method_state = jax.tree.map(lambda x: x.astype(jnp.float64), method.init_state(None, state, None))
    tree = jax.tree.map(lambda _: "all", params)
    optimizer = optim.make_optimizer(
        optim.SGD(nesterov=nesterov), tree, {"all": optim.ParamGroup()}, weight_decay=weight_decay
    )
    opt_state, found = optimizer.init(params), []

    @jax.jit
    def step(params, batch_stats, method_state, opt_state, batch):
        def objective(params):
            variables = {"params": params, "batch_stats": batch_stats}
            out, new, own = method.forward(None, apply, variables, method_state, batch, None, None, train=True)
            stats = new["batch_stats"]
            terms = method.loss(None, out, batch, None, None)
            return losses.weighted_mean(terms.per_example, terms.weight), (stats, own)

        (loss, (stats, own)), grads = jax.value_and_grad(objective, has_aux=True)(params)
        updates, opt_state = optimizer.update(grads, opt_state, params, learning_rate=rate)
        return jax.tree.map(jnp.add, params, updates), stats, own, opt_state, loss, grads

    for batch in steps:
        params, batch_stats, method_state, opt_state, loss, grads = step(
            params, batch_stats, method_state, opt_state, batch
        )
        found.append(jax.device_get((loss, grads, method_state, {"params": params, "batch_stats": batch_stats})))
    return network, {"params": params, "batch_stats": batch_stats}, found


def by_torch_name(state):
    """Parameters and statistics under the authors' names, in their layout."""
    return {
        torch_name(path): torch_layout(path, value)
        for tree in (state["params"], state.get("batch_stats", {}))
        for path, value in traverse_util.flatten_dict(tree).items()
    }
