"""Cross-entropy with mixup on CIFAR-100-LT, ResNet-32 (recipe A2, alpha 1).

    python -m gcl_jax.main --config=configs/cifar100_lt/ce_mixup.py:100 --workdir=runs/cifar100_ce_mixup

The argument after the colon is the imbalance ratio.
Published top-1 (best on test, single run), ratio 200 / 100 / 50: 35.84 / 40.01 / 45.16.
"""

from gcl_jax import config as c


def get_config(imbalance_ratio="100"):
    return c.experiment(
        stages=dict(
            representation=c.stage(
                c.method("cross_entropy", mixup_alpha=1.0),
                c.sampler("instance"),
                epochs=200,
                batch_size=64,
                optimizer=c.gcl_step_schedule(),
            ),
        ),
        data=dict(source="tfds", name="cifar100", imbalance_ratio=float(imbalance_ratio)),
        model=dict(name="resnet32"),
        log=dict(tensorboard=True),
    )
