"""GCL on CIFAR-10-LT, ResNet-32: the published recipe, with the slides' CBEN (a = 0.999, b = 0.0009) in stage 2.

    python -m gcl_jax.main --config=configs/cifar10_lt/gcl.py:100 --workdir=runs/cifar10_gcl

The argument after the colon is the imbalance ratio.
Published top-1 (best on test, single run), ratio 200 / 100 / 50: 79.03 / 82.68 / 85.46.

Everything but the sampler equals gcl_published.py. The paper names CBEN; its code's default sampler is
class-balanced, and its CBEN (a = 0.9999, b = 1e-5) is nearly so.
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
                c.sampler("cben", a=0.999, b=0.0009),
                epochs=30,
                batch_size=64,
                bn="frozen",
                optimizer=c.optimizer(learning_rate=0.002, schedule="cosine"),
            ),
        ),
        data=dict(source="tfds", name="cifar10", imbalance_ratio=float(imbalance_ratio)),
        model=dict(name="resnet32"),
        log=dict(tensorboard=True),
    )
