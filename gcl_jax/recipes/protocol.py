"""What every row on one data set has in common, so that rows differ in their method alone."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from ml_collections import ConfigDict

from gcl_jax import config as c
from gcl_jax.errors import UserError

T = TypeVar("T")
NOTHING: Mapping = MappingProxyType({})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """The data, the network and the schedule of a data set's rows; each file of configs/ makes one.

    ``batch_size`` and ``optimizer`` are the first stage's; a recipe says what it does otherwise, batch and rate as
    factors. ``second_epochs`` and ``second_learning_rate``, where not 0, replace each recipe's own in stages that
    re-train: on data so small that those would hardly move a classifier.
    """

    dataset: str  # recipes look up their values by this name,
    fallbacks: tuple[str, ...] = ()  # and where they have none for it by these, in order
    blocks: Mapping  # blocks of the config: data, model, eval, ...
    epochs: int  # of a row of one stage
    first_epochs: int  # of the first stage, where a second re-trains
    batch_size: int
    optimizer: Mapping  # fields of `config.optimizer`, the learning rate among them
    second_epochs: int = 0
    second_learning_rate: float = 0.0
    init_from: str = ""  # file of published weights that the first stage starts from; they stay as they are,
    last_block: str = ""  # but for this block, which starts anew

    @property
    def imbalance_ratio(self) -> float | None:
        """n_max / n_min, or None for data that are long-tailed by themselves."""
        return self.blocks["data"].get("imbalance_ratio")

    def pick(self, values: Mapping[str, T]) -> T:
        """The entry of ``values`` {data set: value} for this data set, or for the first of its fallbacks that has one.

        Raises UserError where there is none.
        """
        for dataset in (self.dataset, *self.fallbacks):
            if dataset in values:
                return values[dataset]
        raise UserError(f"the row has no values for {self.dataset}, but for {', '.join(values)}: see its recipe")

    def scaled(self, learning_rate: float) -> float:
        """A rate that was published for batches of 256, for this batch."""
        return learning_rate * self.batch_size / 256

    def experiment(self, *, experts: int = 1, **stages: Mapping) -> ConfigDict:
        """The config of one row; its network has as many ``experts``, two of them BBN's branches."""
        blocks = dict(self.blocks)
        if experts > 1:
            blocks["model"] = dict(blocks["model"], experts=experts)
        return c.experiment(stages=stages, **blocks)

    def train(
        self,
        method: Mapping,
        *,
        sampler: Mapping | None = None,
        alone: bool = True,
        batch: float = 1,
        rate: float = 1.0,
        stage: Mapping = NOTHING,
        **optimizer: object,
    ) -> dict:
        """The first stage, by default on instance-balanced batches.

        ``alone`` if no later stage trains; ``batch`` and ``rate`` are factors of the protocol's batch size and rate;
        ``optimizer`` are other fields of `config.optimizer`, ``stage`` of `config.stage`.
        """
        trunk: Mapping = NOTHING
        if self.init_from:
            trunk = dict(
                trainable=f"backbone/{self.last_block}/|head/",
                restore=f"backbone/(?!{self.last_block}/)",
                bn_scope=self.last_block,
                init_from=self.init_from,
            )
        default = {**self.optimizer, "learning_rate": rate * self.optimizer["learning_rate"]}
        return c.stage(
            method,
            sampler or c.sampler("instance"),
            epochs=self.epochs if alone else self.first_epochs,
            batch_size=round(batch * self.batch_size),
            optimizer=c.optimizer(**(default | optimizer)),
            **{**trunk, **stage},
        )

    def retrain(
        self,
        method: Mapping,
        *,
        sampler: Mapping,
        epochs: int,
        learning_rate: float,
        bn: str,
        batch: float = 1,
        stage: Mapping = NOTHING,
        **optimizer: object,
    ) -> dict:
        """A stage that goes on from the one before, by default under a cosine schedule; arguments as `train`'s."""
        default = dict(
            learning_rate=self.second_learning_rate or learning_rate,
            schedule="cosine",
            weight_decay=self.optimizer["weight_decay"],
        )
        scope = dict(bn_scope=self.last_block) if self.init_from and bn != "frozen" else {}
        return c.stage(
            method,
            sampler,
            epochs=self.second_epochs or epochs,
            batch_size=round(batch * self.batch_size),
            bn=bn,
            optimizer=c.optimizer(**(default | optimizer)),
            **{**scope, **stage},
        )

    def training_free(self, method: Mapping, *, head: str = "") -> dict:
        """A stage of no epochs: its method makes the classifier of the stage before; ``head`` "" is the method's."""
        chosen: dict[str, Any] = {"head": head} if head else {}
        return c.stage(method, c.sampler("instance"), epochs=0, batch_size=self.batch_size, bn="frozen", **chosen)
