"""Protocols of Table 2: ImageNet-LT and iNaturalist 2018 from scratch, Places-LT over a published, frozen trunk.

The authors published code for Places-LT alone. First stages are the same for all rows, as the authors say theirs were:
200 epochs on ImageNet-LT and iNaturalist, where batch, rate and schedule are our filling.
"""

import dataclasses
from collections.abc import Mapping

from ml_collections import ConfigDict

from gcl_jax import config as c
from gcl_jax.recipes.photographs import photographs

LAST_BLOCK = "layer4_2"  # ResNet-152's last block, which starts anew over the published trunk


@dataclasses.dataclass(frozen=True)
class LargeScale:
    """What the rows on one data set share: the data, the network, the first stage."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    schedule: Mapping  # other fields of the first stage's optimiser
    published: str  # file of published weights: a frozen trunk, of which only last block and head train; "" = none
    clouds: Mapping  # GCL's noise multiplier, and the scale of its second stage
    smoothing: tuple[float, float]  # MiSLAS's, of the largest and of the smallest class
    crt_epochs: int
    blocks: Mapping

    def experiment(self, **stages: Mapping) -> ConfigDict:
        """The config of one row."""
        return c.experiment(stages=stages, **self.blocks)

    def first(self, name: str, **hyperparameters: object) -> dict:
        """The first stage with the method ``name``."""
        trained = {}
        if self.published:
            trained = dict(
                trainable=f"backbone/{LAST_BLOCK}/|head/",
                restore=f"backbone/(?!{LAST_BLOCK}/)",
                bn_scope=LAST_BLOCK,
                init_from=self.published,
            )
        optimizer = c.optimizer(learning_rate=self.learning_rate, weight_decay=self.weight_decay, **self.schedule)
        return c.stage(
            c.method(name, **hyperparameters),
            c.sampler("instance"),
            epochs=self.epochs,
            batch_size=self.batch_size,
            optimizer=optimizer,
            **trained,
        )

    def second(
        self,
        method: Mapping,
        sampler: Mapping,
        *,
        epochs: int,
        learning_rate: float,
        bn: str,
        batch_size: int = 0,
        lr_mult: tuple[str, ...] = (),
        **stage: object,
    ) -> dict:
        """A stage that re-trains, under a cosine schedule; ``batch_size`` 0 is the first stage's.

        ``stage`` are other fields of `config.stage`.
        """
        return c.stage(
            method,
            sampler,
            epochs=epochs,
            batch_size=batch_size or self.batch_size,
            bn=bn,
            bn_scope=LAST_BLOCK if self.published and bn != "frozen" else "",
            optimizer=c.optimizer(
                learning_rate=learning_rate, schedule="cosine", weight_decay=self.weight_decay, lr_mult=lr_mult
            ),
            **stage,
        )

    def scaled(self, learning_rate: float) -> float:
        """A rate that was published for batches of 256, for this batch."""
        return learning_rate * self.batch_size / 256


def _from_scratch(name, root, weight_decay, crt_epochs, **photos):
    return LargeScale(
        epochs=200,
        batch_size=256,
        learning_rate=0.1,
        weight_decay=weight_decay,
        schedule=dict(schedule="cosine", warmup_percent=2.5),
        published="",
        clouds=dict(noise_multiplier=0.5, scale=20.0),
        smoothing=(0.3, 0.0),
        crt_epochs=crt_epochs,
        blocks=_blocks(name, root, "resnet50", **photos),
    )


def _blocks(name, root, network, mean=None, std=None, **photos):
    data = photographs(source="list", name=name, path=root, photos=dict(size=224, resize=256, **photos))
    if mean:
        data |= dict(mean=mean, std=std)
    return dict(
        data=data, model=dict(name=network), eval=dict(every_epochs=10), precision="bf16", log=dict(tensorboard=True)
    )  # fmt: skip


def _lists(root, prefix, **parts):
    return {f"{part}_list": f"{root}/{prefix}_{suffix}.txt" for part, suffix in parts.items()}


def imagenet_lt(root: str) -> LargeScale:
    """ImageNet-LT (115,846 images, 1280 to 5 a class), ResNet-50: batch 256, rate 0.1, cosine, 200 epochs.

    ``root`` holds the images and ImageNet_LT_train.txt, _val.txt, _test.txt. Colour jitter 0.4 as in Decoupling.
    """
    lists = _lists(root, "ImageNet_LT", train="train", validation="val", test="test")
    return _from_scratch("imagenet_lt", root, 5e-4, 10, color_jitter=(0.4, 0.4, 0.4), **lists)


def inat2018(root: str) -> LargeScale:
    """iNaturalist 2018 (437,513 images, 1000 to 2 a class), ResNet-50: as ImageNet-LT, weight decay 1e-4, no jitter.

    ``root`` holds the images and iNaturalist18_train.txt, iNaturalist18_val.txt; the second is the test set.
    """
    lists = _lists(root, "iNaturalist18", train="train", test="val")
    own = dict(mean=(0.466, 0.471, 0.380), std=(0.195, 0.194, 0.192))
    return _from_scratch("inat2018", root, 1e-4, 30, **own, **lists)


def places_lt(root: str) -> LargeScale:
    """Places-LT (62,500 images, 4980 to 5 a class), ResNet-152: batch 512, rate 0.2, x 0.1 and x 0.01 after 60 and 80.

    90 epochs, warm-up over 5. ``root`` holds the images, Places_LT_train.txt, _val.txt, _test.txt and resnet152.pth,
    torchvision's weights; all but the last block of these is frozen, batch norm with it.
    """
    lists = _lists(root, "Places_LT", train="train", validation="val", test="test")
    steps = dict(
        schedule="step",
        warmup_percent=100 * 5 / 90,
        boundaries_percent=(100 * 60 / 90, 100 * 80 / 90),
        decay_factors=(0.1, 0.01),
    )
    return LargeScale(
        epochs=90,
        batch_size=512,
        learning_rate=0.2,
        weight_decay=5e-4,
        schedule=steps,
        published=f"{root}/resnet152.pth",
        clouds=dict(noise_multiplier=1.0, scale=15.0),
        smoothing=(0.4, 0.1),
        crt_epochs=10,
        blocks=_blocks("places_lt", root, "resnet152", **lists),
    )
