"""An optimizer with a key of its own, and a learning rate that changes with every step."""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from gcl_jax.optim import OPTIMIZERS, SCHEDULES, Optimizer, ScheduleFields
from gcl_jax.registry import option


@dataclasses.dataclass(frozen=True)
class TransformerAdamW(Optimizer):
    """AdamW with the betas that transformers are trained with; biases and norms are not decayed."""

    second_moment: float = option(0.95, "[0, 0.9999999]")  # config.STAGE.optimizer.second_moment

    def direction(self, weight_decay: float) -> optax.GradientTransformation:
        matrices = lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params)  # noqa: E731
        return optax.chain(
            optax.scale_by_adam(b1=0.9, b2=self.second_moment), optax.add_decayed_weights(weight_decay, matrices)
        )


def warmup_cosine(fields: ScheduleFields) -> optax.Schedule:
    """A line up to the learning rate over ``warmup_percent`` of all steps, then half a cosine down to 1 % of it."""
    steps = fields.epochs * fields.steps_per_epoch
    warmup = max(fields.warmup_percent / 100 * steps, 1)

    def rate(step: jax.Array) -> jax.Array:
        done = jnp.clip((step - warmup) / max(steps - warmup, 1), 0, 1)
        cosine = 0.01 + 0.99 * (1 + jnp.cos(jnp.pi * done)) / 2
        return fields.learning_rate * jnp.where(step < warmup, (step + 1) / warmup, cosine)

    return rate


OPTIMIZERS.register("transformer_adamw", TransformerAdamW)
SCHEDULES.register("warmup_cosine", warmup_cosine)
