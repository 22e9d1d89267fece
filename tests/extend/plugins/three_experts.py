"""A network of three experts and a method with a loss for each, after RIDE (Wang et al. 2021)."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gcl_jax import losses
from gcl_jax.methods import LossOut, Method, register
from gcl_jax.models import BACKBONES, HEADS, Features
from gcl_jax.models.pool import mean_pool
from gcl_jax.models.resnet_cifar import BasicBlock, Conv
from gcl_jax.registry import option

EXPERTS = 3


class ExpertResNet(nn.Module):
    """ResNet-8 whose last stage exists three times: ``pooled`` [B, 3 * width], ``map`` [B, H / 4, W / 4, 3 * width]."""

    dtype: jnp.dtype = jnp.float32
    expert_width: int = option(32, "[32, 4096]")  # config.model.expert_width

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> Features:
        x = nn.relu(Conv(16, dtype=self.dtype, name="stem")(images))
        x = BasicBlock(16, 1, self.dtype, name="layer1")(x, train=train)
        x = BasicBlock(32, 2, self.dtype, name="layer2")(x, train=train)
        maps = [BasicBlock(self.expert_width, 2, self.dtype, name=f"expert{i}")(x, train=train) for i in range(EXPERTS)]
        return Features(pooled=jnp.concatenate([mean_pool(y) for y in maps], -1), map=jnp.concatenate(maps, -1))


class ExpertHead(nn.Module):
    """A linear classifier of each expert: {"experts" [B, 3, C], "scores" [B, C], their mean}."""

    num_classes: int

    @nn.compact
    def __call__(self, features: jax.Array, *, train: bool = False) -> dict[str, jax.Array]:
        per_expert = features.reshape(features.shape[0], EXPERTS, -1).astype(jnp.float32)
        shape = (EXPERTS, per_expert.shape[-1], self.num_classes)
        kernels = self.param("kernels", nn.initializers.lecun_normal(batch_axis=0), shape)
        experts = jnp.einsum("bkd,kdc->bkc", per_expert, kernels)
        return {"experts": experts, "scores": experts.mean(1)}


@dataclasses.dataclass(frozen=True)
class ExpertCrossEntropy(Method):
    """The sum of each expert's cross-entropy."""

    heads: ClassVar[tuple[str, ...]] = ("experts",)
    logged: ClassVar[tuple[str, ...]] = ("disagreement",)

    def loss(self, key, out, batch, t, info):
        each = jax.vmap(losses.cross_entropy, in_axes=(1, None), out_axes=1)(out["experts"], batch["label"])
        votes = out["experts"].argmax(-1)
        return LossOut(each.sum(1), metrics={"disagreement": jnp.mean(votes != votes[:, :1])})

    def predict(self, out, method_state, info):
        return {"logits": out["scores"], "experts": out["experts"]}


BACKBONES.register("expert_resnet8", ExpertResNet)
HEADS.register("experts", ExpertHead)
register("expert_cross_entropy", ExpertCrossEntropy)
