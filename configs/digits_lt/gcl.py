"""GCL, both stages, on long-tailed 8 x 8 digits (scikit-learn's, offline); the argument is the imbalance ratio.

    python -m gcl_jax.main --config=configs/digits_lt/gcl.py:100 --workdir=runs/digits_gcl

Seconds on a CPU. Nothing is published for these data; README has the measured table.
"""

from gcl_jax import config as c


def get_config(imbalance_ratio="100"):
    optimizer = dict(momentum=0.9, weight_decay=2e-4)
    return c.experiment(
        stages=dict(
            representation=c.stage(
                c.method("gcl", scale=30.0, noise_multiplier=0.5, mixup_alpha=0.0),
                c.sampler("instance"),
                epochs=60,
                batch_size=32,
                optimizer=c.optimizer(
                    learning_rate=0.05,
                    schedule="step",
                    warmup_percent=5.0,
                    boundaries_percent=(80.0, 90.0),
                    decay_factors=(0.1, 0.01),
                    **optimizer,
                ),
            ),
            classifier=c.stage(
                c.method(
                    "gcl",
                    trains="classifier",
                    scale=20.0,
                    margin=0.1,
                    noise_multiplier=0.5,
                    focal_gamma=1.0,
                    mixup_alpha=0.0,
                ),
                c.sampler("cben"),
                epochs=20,
                batch_size=32,
                bn="frozen",
                optimizer=c.optimizer(learning_rate=0.05, schedule="cosine", **optimizer),
            ),
        ),
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
    )
