"""The paper's tables, declared: rows are configs, columns are data sets and imbalance ratios."""

import dataclasses
from collections.abc import Mapping, Sequence

Published = Mapping[str, Mapping[int, float]]  # {data set: {imbalance ratio: top-1 in %}}


@dataclasses.dataclass(frozen=True)
class Row:
    """One row: ``config`` is a file's name in every configs/DATASET folder, ``overrides`` are --config.KEY=VALUE.

    ``name`` is what --only takes.
    """

    name: str
    label: str
    config: str
    overrides: tuple[str, ...] = ()
    published: Published = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Table:
    """One table: its rows, its columns {data set: ratios}, and the row that the others are compared with.

    ``title`` is for the columns that it declares; ``subject`` is what its rows are, whatever the data.
    """

    title: str
    subject: str
    rows: tuple[Row, ...]
    columns: Mapping[str, tuple[int, ...]]
    reference: str = "gcl"


RATIOS = (200, 100, 50)
NO_RATIO = 0  # the ratio of data sets that are long-tailed by themselves
WITHOUT_RATIO = ("imagenet_lt", "inat2018", "places_lt", "photos_lt", "folder")
OWN = "folder"  # the configs for photographs of one's own
SMALL_RATIO = 100  # of data sets that no table of the paper has


def ratios_of(dataset: str, columns: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """The ratios that a table has of ``dataset`` where none are asked for."""
    return columns.get(dataset, (NO_RATIO,) if dataset in WITHOUT_RATIO else (SMALL_RATIO,))


def _cifar(ten: Sequence[float | None], hundred: Sequence[float | None]) -> Published:
    columns = {"cifar10_lt": ten, "cifar100_lt": hundred}
    return {
        name: {ratio: x for ratio, x in zip(RATIOS, values, strict=True) if x is not None}
        for name, values in columns.items()
    }


def _large(*values: float | None) -> Published:
    columns = zip(("imagenet_lt", "inat2018", "places_lt"), values, strict=True)
    return {name: {NO_RATIO: x} for name, x in columns if x is not None}


def _at_100(accuracy: float) -> Published:
    return {"cifar10_lt": {100: accuracy}}


CIFAR = {"cifar10_lt": RATIOS, "cifar100_lt": RATIOS}
CIFAR_10 = {"cifar10_lt": (100,)}

GCL = _cifar((79.03, 82.68, 85.46), (44.88, 48.71, 53.55))


def _clouds(strategy, exponent=None):
    stages = ("representation", "classifier")
    chosen = [f"--config.{stage}.method.cloud_size={strategy}" for stage in stages]
    if exponent is not None:
        chosen += [f"--config.{stage}.method.cloud_exponent={exponent}" for stage in stages]
    return tuple(chosen)


TABLES = {
    "table1": Table(
        "Table 1: methods on CIFAR-LT, ResNet-32",
        "Methods",
        (
            Row("ce", "CE", "ce", published=_cifar((65.68, 70.70, 74.81), (34.84, 38.43, 43.9))),
            Row("ce_mixup", "CE + mixup", "ce_mixup", published=_cifar((65.84, 72.96, 79.48), (35.84, 40.01, 45.16))),
            Row("ldam_drw", "LDAM-DRW", "ldam_drw", published=_cifar((73.52, 77.03, 81.03), (38.91, 42.04, 47.62))),
            Row("tde", "De-confound-TDE", "tde", published=_cifar((None, 80.60, 83.60), (None, 44.15, 50.31))),
            Row(
                "ce_mixup_crt",
                "CE + mixup + cRT",
                "ce_mixup_crt",
                published=_cifar((73.06, 79.15, 84.21), (41.73, 45.12, 50.86)),
            ),
            Row("bbn", "BBN", "bbn", published=_cifar((73.47, 79.82, 81.18), (37.21, 42.56, 47.02))),
            Row(
                "hybrid_sc",
                "contrastive learning (Hybrid-SC)",
                "hybrid_sc",
                published=_cifar((None, 81.40, 85.36), (None, 46.72, 51.87)),
            ),
            Row("oltr", "OLTR", "oltr"),  # Table 2's; the paper has no CIFAR number of it
            Row("mislas", "MiSLAS", "mislas", published=_cifar((77.31, 82.06, 85.16), (42.33, 47.50, 52.62))),
            Row("gcl", "GCL", "gcl", published=GCL),
            Row("gcl_published", "GCL, as its code runs", "gcl_published", published=GCL),
        ),
        CIFAR,
    ),
    "table2": Table(
        "Table 2: methods on ImageNet-LT, iNaturalist 2018 and Places-LT",
        "Methods",
        (
            Row("ce", "CE", "ce", published=_large(44.51, 63.80, 27.13)),
            Row("ce_mixup", "CE + mixup", "ce_mixup", published=_large(45.66, 65.77, 29.51)),
            Row("ldam_drw", "LDAM-DRW", "ldam_drw", published=_large(48.80, 68.00, None)),
            Row("oltr", "OLTR", "oltr", published=_large(None, None, 35.9)),
            Row("lws", "Decoupling (LWS)", "lws", published=_large(47.70, 69.49, 37.62)),
            Row("ce_mixup_crt", "CE + mixup + cRT", "ce_mixup_crt", published=_large(51.68, 70.16, 38.51)),
            Row("logit_adjustment", "logit adjustment", "logit_adjustment", published=_large(51.11, 66.36, None)),
            Row("disalign", "DisAlign", "disalign", published=_large(52.91, 70.06, 39.30)),
            Row("mislas", "MiSLAS", "mislas", published=_large(52.11, 71.57, 40.15)),
            Row("gcl", "GCL", "gcl", published=_large(54.88, 72.01, 40.64)),
        ),
        {name: (NO_RATIO,) for name in ("imagenet_lt", "inat2018", "places_lt")},
    ),
    "table3": Table(
        "Table 3: GCL's cloud size",
        "GCL's cloud size",
        (
            Row("cosine", "cos(n_j / n_max * pi / 2)", "gcl", _clouds("cosine"), _at_100(79.21)),
            Row("power_1_3", "n_max^(1/3) - n_j^(1/3)", "gcl", _clouds("power", 1 / 3), _at_100(80.80)),
            Row("power_1_4", "n_max^(1/4) - n_j^(1/4)", "gcl", _clouds("power", 1 / 4), _at_100(82.31)),
            Row("gcl", "log n_max - log n_j", "gcl", (), _at_100(82.68)),
        ),
        CIFAR_10,
    ),
    "table4": Table(
        "Table 4: the sampler of GCL's second stage (cRT)",
        "The sampler of GCL's second stage (cRT)",
        (
            Row("instance", "instance-balanced", "gcl_instance_balanced", (), _at_100(80.41)),
            Row("class_balanced", "class-balanced", "gcl_published", (), _at_100(82.43)),
            Row("effective_number", "effective number", "gcl_effective_number", (), _at_100(82.47)),
            Row("gcl", "CBEN", "gcl", (), _at_100(82.68)),
        ),
        CIFAR_10,
    ),
    "table5": Table(
        "Table 5: GCL's re-training",
        "GCL's re-training",
        (
            Row("none", "none", "gcl", ("--config.stages=('representation',)",), _at_100(80.52)),
            Row("lws", "CBEN + LWS", "gcl_lws", (), _at_100(82.25)),
            Row("tau_norm", "CBEN + tau-norm", "gcl_tau_norm", (), _at_100(82.16)),
            Row("gcl", "CBEN + cRT", "gcl", (), _at_100(82.68)),
        ),
        CIFAR_10,
    ),
    "baselines": Table(
        "Methods of the paper's other tables and of its references, under Table 1's protocol",
        "Methods",
        (
            Row("ce", "CE", "ce", published=_cifar((65.68, 70.70, 74.81), (34.84, 38.43, 43.9))),
            Row("focal", "focal", "focal"),
            Row("class_balanced_loss", "class-balanced loss", "class_balanced_loss"),
            Row("balanced_softmax", "Balanced Softmax = logit adjustment, loss", "balanced_softmax"),
            Row("logit_adjustment_posthoc", "logit adjustment, post hoc", "logit_adjustment_posthoc"),
            Row("crt", "cRT", "crt"),
            Row("lws", "LWS", "lws"),
            Row("tau_norm", "tau-norm", "tau_norm"),
            Row("nearest_class_mean", "nearest class mean", "nearest_class_mean"),
            Row("disalign", "DisAlign", "disalign"),
            Row("hybrid_psc", "Hybrid-PSC", "hybrid_psc"),
            Row("gcl_angular", "angular GCL", "gcl_angular"),
            Row("gcl", "GCL", "gcl", published=GCL),
        ),
        CIFAR,
    ),
}
