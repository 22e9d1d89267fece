"""CIFAR-100-LT, ResNet-32, by the schedule of GCL's script.

    python -m gcl_jax.main --config=configs/cifar100_lt.py:gcl,100 --workdir=runs/gcl

ROW is one of the recipes in gcl_jax/recipes/, 100 the imbalance ratio n_max / n_min.
"""

from ml_collections import ConfigDict

from gcl_jax.recipes import Protocol, row_and_ratio


def protocol(imbalance_ratio: float) -> Protocol:
    """Rate 0.1, batches of 64, 200 epochs, warm-up over 5, x 0.1 after 160 and x 0.01 after 180."""
    return Protocol(
        dataset="cifar100_lt",
        fallbacks=("cifar10_lt",),
        blocks=dict(
            data=dict(source="tfds", name="cifar100", imbalance_ratio=imbalance_ratio),
            model=dict(name="resnet32"),
            log=dict(tensorboard=True),
        ),
        epochs=200,
        first_epochs=200,
        batch_size=64,
        optimizer=dict(
            learning_rate=0.1,
            weight_decay=2e-4,
            schedule="step",
            warmup_percent=2.5,
            boundaries_percent=(80.0, 90.0),
            decay_factors=(0.1, 0.01),
        ),
    )


def get_config(arguments: str = "") -> ConfigDict:
    """``arguments`` are ROW,RATIO; without a ratio it is 100."""
    recipe, imbalance_ratio = row_and_ratio(arguments)
    return recipe(protocol(imbalance_ratio))
