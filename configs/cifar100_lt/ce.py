"""Cross-entropy on CIFAR-100-LT, ResNet-32 (GCL's script; recipe A1).

    python -m gcl_jax.main --config=configs/cifar100_lt/ce.py:100 --workdir=runs/cifar100_ce

The argument after the colon is the imbalance ratio.
Published top-1 (best on test, single run), ratio 200 / 100 / 50: 34.84 / 38.43 / 43.9.
"""

from gcl_jax import config as c


def get_config(imbalance_ratio="100"):
    return c.experiment(
        stages=dict(
            representation=c.stage(
                c.method("cross_entropy"),
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
