"""A config for each plugin, of two short epochs on long-tailed digits: tests/extend/experiments.py:NAME.

The folder of the plugins has to be on PYTHONPATH, for this file and for every command that reads the run.
"""

import importlib

from gcl_jax import config as c

DATA = dict(source="digits", name="digits", crop_padding=1, flip=False, mean=(0.3,), std=(0.37,))
FREE = r"head/|.*/(down|up)$"  # the adapters and the head


def one_stage(
    plugins, method=("cross_entropy", {}), *, model=("resnet8", {}), optimizer=(), data=(), evaluation=(), **stage
):
    """A config of one stage; its ``method`` and ``model`` are a name and keys, as the others are keys of their blocks.

    The modules ``plugins`` are imported here, since their names and keys stand in the blocks.
    """
    for name in plugins:
        importlib.import_module(name)
    train = c.stage(
        c.method(method[0], **method[1]),
        c.sampler("instance"),
        **{"epochs": 2, "batch_size": 32} | stage,
        optimizer=c.optimizer(**{"learning_rate": 0.05, "schedule": "constant"} | dict(optimizer)),
    )
    return c.experiment(
        stages={"representation": train},
        plugins=plugins,
        data=DATA | dict(data),
        model=dict(name=model[0], **model[1]),
        eval=dict(batch_size=512) | dict(evaluation),
        log=dict(every_steps=4),
        checkpoint=dict(every_steps=5),
    )


ADAM = dict(name="transformer_adamw", learning_rate=2e-3, schedule="warmup_cosine", warmup_percent=20.0)
CONFIGS = {
    "adamw_cosine": lambda: one_stage(("adamw_cosine",), optimizer=ADAM | dict(second_moment=0.9, weight_decay=0.05)),
    "mean_teacher": lambda: one_stage(("mean_teacher",), ("mean_teacher", dict(decay=0.8))),
    "adaptive_sam": lambda: one_stage(("adaptive_sam",), gradient=dict(name="adaptive_sam", radius=0.2)),
    "three_experts": lambda: one_stage(
        ("three_experts",), ("expert_cross_entropy", {}), model=("expert_resnet8", dict(expert_width=48))
    ),
    "small_transformer": lambda: one_stage(
        ("small_transformer", "adamw_cosine"),
        model=("small_transformer", dict(width=16)),
        head="token_attention",
        optimizer=ADAM,
    ),
    "low_rank_adapter": lambda: one_stage(  # --config.representation.init_from=RUN of small_transformer
        ("low_rank_adapter", "adamw_cosine"),
        model=("adapted_transformer", dict(width=16)),
        head="token_attention",
        optimizer=ADAM,
        trainable=FREE,
        restore=r"(?!.*/(down|up)$)",
    ),
    "momentum_queue": lambda: one_stage(("momentum_queue",), ("momentum_queue", dict(decay=0.9))),
    "perturbed_weights": lambda: one_stage(("perturbed_weights",), gradient=dict(name="perturbed_weights", sigma=0.1)),
    "max_norm": lambda: one_stage(("max_norm",), ("max_norm", {})),
    "augment_and_paste": lambda: one_stage(
        ("augment_and_paste",), transforms={"main": ("random_ops(2,0.2)",)}, mix="paste_boxes(1.0)"
    ),
    "rare_mixup": lambda: one_stage(("rare_mixup",), mix="rare_mixup(1.0)"),
    "head_bias": lambda: one_stage(("head_bias",), evaluation=dict(metrics=("head_bias", "mcc"))),
    "blobs": lambda: one_stage(("blobs",), data=dict(source="blobs", name="blobs", imbalance_ratio=10.0), epochs=5),
    "two_estimators": lambda: one_stage(("two_estimators",), ("two_estimators", {})),
}


def get_config(name):
    return CONFIGS[name]()
