"""What every row of a table has in common on one data set, so that rows differ in their method alone."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from ml_collections import ConfigDict

from gcl_jax import config as c


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The data, the network and the schedule that the rows on one data set share.

    ``batch_size`` and ``learning_rate`` are the first stage's; a recipe says what it does otherwise as a factor or in
    percents. ``second_epochs`` and ``second_learning_rate``, where not 0, replace each recipe's own in stages that
    re-train: on data so small that those would hardly move a classifier. ``mixup_alpha`` is GCL's, in both
    stages, and that of cRT after CE + mixup.
    """

    dataset: str
    imbalance_ratio: float
    epochs: int  # of a row of one stage
    first_epochs: int  # of the first stage, where a second re-trains
    batch_size: int
    learning_rate: float
    warmup_percent: float
    mixup_alpha: float
    second_epochs: int
    second_learning_rate: float
    blocks: Mapping  # the config's other blocks: data, model, eval, ...

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
        batch: int = 1,
        rate: float = 1.0,
        stage: Mapping = MappingProxyType({}),
        **optimizer: object,
    ) -> dict:
        """A stage from scratch, by default with steps at 80 and 90 % of its epochs to 0.1 and 0.01 of the rate.

        ``alone`` if no later stage trains; ``batch`` and ``rate`` are factors of the protocol's batch size and rate;
        ``optimizer`` are other fields of `config.optimizer`, ``stage`` of `config.stage`.
        """
        default = dict(
            learning_rate=rate * self.learning_rate,
            schedule="step",
            warmup_percent=self.warmup_percent,
            boundaries_percent=(80.0, 90.0),
            decay_factors=(0.1, 0.01),
        )
        return c.stage(
            method,
            sampler or c.sampler("instance"),
            epochs=self.epochs if alone else self.first_epochs,
            batch_size=batch * self.batch_size,
            optimizer=c.optimizer(**(default | optimizer)),
            **stage,
        )

    def retrain(
        self,
        method: Mapping,
        *,
        sampler: Mapping,
        epochs: int,
        learning_rate: float,
        bn: str,
        batch: int = 1,
        stage: Mapping = MappingProxyType({}),
        **optimizer: object,
    ) -> dict:
        """A stage that goes on from the one before, by default under a cosine schedule; arguments as `train`'s."""
        default = dict(learning_rate=self.second_learning_rate or learning_rate, schedule="cosine")
        return c.stage(
            method,
            sampler,
            epochs=self.second_epochs or epochs,
            batch_size=batch * self.batch_size,
            bn=bn,
            optimizer=c.optimizer(**(default | optimizer)),
            **stage,
        )

    def training_free(self, method: Mapping, **stage: object) -> dict:
        """A stage of no epochs: its method makes the classifier of what the stage before trained."""
        return c.stage(method, c.sampler("instance"), epochs=0, batch_size=self.batch_size, bn="frozen", **stage)


def cifar_lt(dataset: str, imbalance_ratio: float | str) -> Protocol:
    """CIFAR-10-LT or CIFAR-100-LT, ResNet-32: the schedule of GCL's script.

    Rate 0.1, batches of 64, 200 epochs, warm-up over 5, x 0.1 after 160 and x 0.01 after 180.
    """
    return Protocol(
        dataset,
        float(imbalance_ratio),
        epochs=200,
        first_epochs=200,
        batch_size=64,
        learning_rate=0.1,
        warmup_percent=2.5,
        mixup_alpha=1.0,
        second_epochs=0,
        second_learning_rate=0.0,
        blocks=dict(
            data=dict(source="tfds", name=dataset, imbalance_ratio=float(imbalance_ratio)),
            model=dict(name="resnet32"),
            log=dict(tensorboard=True),
        ),
    )


def digits_lt(imbalance_ratio: float | str) -> Protocol:
    """Long-tailed 8 x 8 digits (scikit-learn's, offline), ResNet-8: seconds a row.

    80 epochs, or 60 and then 20 at rate 0.05 in every stage that re-trains. Fixed before any method but CE and GCL was
    measured, and the same for all.
    """
    return Protocol(
        "digits",
        float(imbalance_ratio),
        epochs=80,
        first_epochs=60,
        batch_size=32,
        learning_rate=0.05,
        warmup_percent=5.0,
        mixup_alpha=0.0,
        second_epochs=20,
        second_learning_rate=0.05,
        blocks=dict(
            data=dict(
                source="digits",
                name="digits",
                imbalance_ratio=float(imbalance_ratio),
                crop_padding=1,
                flip=False,
                mean=(0.3,),
                std=(0.37,),
            ),
            model=dict(name="resnet8"),
            eval=dict(every_epochs=5, batch_size=512),
            log=dict(every_steps=9),
            checkpoint=dict(every_steps=90),
        ),
    )
