"""Cross-entropy on long-tailed 8 x 8 digits, for as many epochs as GCL's two stages together.

    python -m gcl_jax.main --config=configs/digits_lt/ce.py:100 --workdir=runs/digits_ce

Nothing is published for these data; README has the measured table.
"""

from gcl_jax import config as c


def get_config(imbalance_ratio="100"):
    return c.experiment(
        stages=dict(
            representation=c.stage(
                c.method("cross_entropy"),
                c.sampler("instance"),
                epochs=80,
                batch_size=32,
                optimizer=c.optimizer(
                    learning_rate=0.05,
                    schedule="step",
                    warmup_percent=5.0,
                    boundaries_percent=(80.0, 90.0),
                    decay_factors=(0.1, 0.01),
                ),
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
