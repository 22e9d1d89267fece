"""GCL on CIFAR-100-LT, ResNet-32: exactly what the published code runs (class-balanced sampling in stage 2).

    python -m gcl_jax.main --config=configs/cifar100_lt/gcl_published.py:100 --workdir=runs/cifar100_gcl_published

The argument after the colon is the imbalance ratio.
Published top-1 (best on test, single run), ratio 200 / 100 / 50: 44.88 / 48.71 / 53.55.

The stage-2 rate of 0.002 is the published code's effective one: its cosine schedule and its parameter group
each multiply the given 0.1 by 0.1 and 0.2 / 2. The log it prints shows 0.002 as well.
"""

from gcl_jax import config as c


def get_config(imbalance_ratio="100"):
    return c.experiment(
        stages=dict(
            representation=c.stage(
                c.method("gcl", scale=30.0, margin=0.0, noise_multiplier=0.5, mixup_alpha=1.0),
                c.sampler("instance"),
                epochs=200,
                batch_size=64,
                optimizer=c.gcl_step_schedule(),
            ),
            classifier=c.stage(
                c.method(
                    "gcl",
                    trains="classifier",
                    scale=20.0,
                    margin=0.1,
                    noise_multiplier=0.5,
                    focal_gamma=1.0,
                    mixup_alpha=1.0,
                ),
                c.sampler("class_balanced"),
                epochs=30,
                batch_size=64,
                bn="frozen",
                optimizer=c.optimizer(learning_rate=0.002, schedule="cosine"),
            ),
        ),
        data=dict(source="tfds", name="cifar100", imbalance_ratio=float(imbalance_ratio)),
        model=dict(name="resnet32"),
        log=dict(tensorboard=True),
    )
