"""Long-tailed 8 x 8 digits (scikit-learn's, offline), ResNet-8: seconds to a minute a row on a CPU.

    python -m gcl_jax.main --config=configs/digits_lt.py:gcl,100 --workdir=runs/gcl

ROW is one of the recipes in gcl_jax/recipes/, 100 the imbalance ratio n_max / n_min. Nothing is published for
these data; docs/methods.md has what was measured.
"""

from ml_collections import ConfigDict

from gcl_jax.recipes import Protocol, row_and_ratio


def protocol(imbalance_ratio: float) -> Protocol:
    """80 epochs, or 60 and then 20 at rate 0.05 in every stage that re-trains; GCL without mixup.

    Fixed before any method but CE and GCL was measured, and the same for all.
    """
    return Protocol(
        dataset="digits_lt",
        fallbacks=("cifar10_lt",),
        blocks=dict(
            data=dict(
                source="digits",
                name="digits",
                imbalance_ratio=imbalance_ratio,
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
        epochs=80,
        first_epochs=60,
        batch_size=32,
        optimizer=dict(
            learning_rate=0.05,
            weight_decay=2e-4,
            schedule="step",
            warmup_percent=5.0,
            boundaries_percent=(80.0, 90.0),
            decay_factors=(0.1, 0.01),
        ),
        second_epochs=20,
        second_learning_rate=0.05,
    )


def get_config(arguments: str = "") -> ConfigDict:
    """``arguments`` are ROW,RATIO; without a ratio it is 100."""
    recipe, imbalance_ratio = row_and_ratio(arguments)
    return recipe(protocol(imbalance_ratio))
