"""OLTR (Liu et al. 2019): attention, memory and meta-embedding behind a network that cross-entropy trained."""

from ml_collections import ConfigDict

from gcl_jax import config as c
from gcl_jax.recipes.protocol import Protocol
from gcl_jax.recipes.registry import recipe

BATCH = {"cifar10_lt": 2, "imagenet_lt": 1 / 2, "places_lt": 1 / 4}  # factors of the protocol's, which make 128
IN_THIRDS = dict(schedule="step", boundaries_percent=(100 / 3, 200 / 3), decay_factors=(0.1, 0.01))


def _embedding(p, *, epochs, learning_rate, bn, lr_mult, **stage):
    return p.retrain(
        c.method("oltr"),
        sampler=c.sampler("class_aware", per_class=4),
        epochs=epochs,
        learning_rate=learning_rate,
        bn=bn,
        batch=p.pick(BATCH),
        stage=dict(bn_scope="", **stage),
        weight_decay=5e-4,
        lr_mult=lr_mult,
        **IN_THIRDS,
    )


def _of_imagenet(p):
    return p.experiment(
        representation=p.train(c.method("cross_entropy"), alone=False),
        meta_embedding=_embedding(
            p,
            epochs=60,
            learning_rate=0.1,
            bn="train",
            lr_mult=("backbone/|head/(attention|feature_)=0.1", "head/centroids=0.1"),
        ),
    )


def _of_places(p):
    representation = c.stage(
        c.method("cross_entropy"),
        c.sampler("instance"),
        head="linear_512",
        restore="backbone/",
        epochs=30,
        batch_size=128,
        init_from=p.init_from,
        optimizer=c.optimizer(
            learning_rate=0.1, weight_decay=5e-4, lr_mult=("backbone/|head/feature_=0.01",), **IN_THIRDS
        ),
    )
    return p.experiment(
        representation=representation,
        meta_embedding=_embedding(
            p,
            epochs=30,
            learning_rate=0.01,
            bn="stats_only",
            lr_mult=("head/(attention|feature_)=0.01",),
            trainable="head/",
            head="meta_embedding_512",
            restore="backbone/|head/(feature_)?(kernel|bias)$",
        ),
    )


@recipe("OLTR", published={"places_lt": 35.9})
def oltr(p: Protocol) -> ConfigDict:
    """CE, then OLTR: all trained, class-aware batches of 128.

    It has no recipe for CIFAR. The second stage is ImageNet-LT's: 60 epochs, rate 0.1, and 0.01 for backbone, attention
    and centroids, x 0.1 every 20 epochs, weight decay 5e-4. On Places-LT both stages are its own, of 30 epochs: the
    first trains the whole published network (ours is torchvision's, the original's Caffe's) behind a feature layer of
    512, rate 0.1 for the classifier and 0.001 for what is before it; the second all behind the backbone, whose batch
    norm updates: 0.01, and 1e-4 for attention and feature layer. x 0.1 every 10 epochs.
    """
    return p.pick({"cifar10_lt": _of_imagenet, "places_lt": _of_places})(p)
