"""The paper's tables: rows are recipes, columns are data sets and imbalance ratios."""

import dataclasses
from collections.abc import Mapping, Sequence

from gcl_jax.errors import require_one_of
from gcl_jax.recipes import NO_RATIO, RATIOS, RECIPES, Published


@dataclasses.dataclass(frozen=True)
class Row:
    """One row: ``recipe`` is a name in RECIPES, ``overrides`` are --config.KEY=VALUE.

    ``name`` is what --only takes.
    """

    name: str
    label: str
    recipe: str
    overrides: tuple[str, ...]
    published: Published


@dataclasses.dataclass(frozen=True)
class Table:
    """One table: its rows, its columns {data set: ratios}, and the row that the others are compared with.

    ``title`` is for the columns that it declares; ``subject`` is what its rows are, whatever the data. ``others`` says
    whether recipes that no table has, such as a plugin's, are rows of it, too.
    """

    title: str
    subject: str
    rows: tuple[Row, ...]
    columns: Mapping[str, tuple[int, ...]]
    reference: str = "gcl"
    others: bool = False


WITHOUT_RATIO = ("imagenet_lt", "inat2018", "places_lt", "photos_lt", "folder")
OWN = "folder"  # the configs for photographs of one's own
SMALL_RATIO = 100  # of data sets that no table of the paper has


def ratios_of(dataset: str, columns: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """The ratios that a table has of ``dataset`` where none are asked for."""
    return columns.get(dataset, (NO_RATIO,) if dataset in WITHOUT_RATIO else (SMALL_RATIO,))


def _row(
    name: str, label: str = "", recipe: str = "", overrides: Sequence[str] = (), at_100: float | None = None
) -> Row:
    """A row named like its recipe, with its label and its published numbers.

    ``at_100``, on CIFAR-10-LT at ratio 100, stands in the place of these; with overrides they are not the recipe's.
    """
    of = RECIPES[recipe or name]
    published = of.published if at_100 is None else {"cifar10_lt": {100: at_100}}
    return Row(name, label or of.label, recipe or name, tuple(overrides), published)


def _rows(*names):
    return tuple(_row(name) for name in names)


def _clouds(strategy, exponent=None):
    stages = ("representation", "classifier")
    chosen = [f"--config.{stage}.method.cloud_size={strategy}" for stage in stages]
    if exponent is not None:
        chosen += [f"--config.{stage}.method.cloud_exponent={exponent}" for stage in stages]
    return tuple(chosen)


CIFAR = {"cifar10_lt": RATIOS, "cifar100_lt": RATIOS}
CIFAR_10 = {"cifar10_lt": (100,)}

TABLES = {
    "table1": Table(
        "Table 1: methods on CIFAR-LT, ResNet-32",
        "Methods",
        _rows(
            "ce",
            "ce_mixup",
            "ldam_drw",
            "tde",
            "ce_mixup_crt",
            "bbn",
            "hybrid_sc",
            "oltr",  # Table 2's; the paper has no CIFAR number of it
            "mislas",
            "gcl",
            "gcl_published",
        ),
        CIFAR,
    ),
    "table2": Table(
        "Table 2: methods on ImageNet-LT, iNaturalist 2018 and Places-LT",
        "Methods",
        (
            *_rows("ce", "ce_mixup", "ldam_drw", "oltr"),
            _row("lws", "Decoupling (LWS)"),
            *_rows("ce_mixup_crt", "logit_adjustment", "disalign", "mislas", "gcl"),
        ),
        {name: (NO_RATIO,) for name in ("imagenet_lt", "inat2018", "places_lt")},
    ),
    "table3": Table(
        "Table 3: GCL's cloud size",
        "GCL's cloud size",
        (
            _row("cosine", "cos(n_j / n_max * pi / 2)", "gcl", _clouds("cosine"), at_100=79.21),
            _row("power_1_3", "n_max^(1/3) - n_j^(1/3)", "gcl", _clouds("power", 1 / 3), at_100=80.80),
            _row("power_1_4", "n_max^(1/4) - n_j^(1/4)", "gcl", _clouds("power", 1 / 4), at_100=82.31),
            _row("gcl", "log n_max - log n_j"),
        ),
        CIFAR_10,
    ),
    "table4": Table(
        "Table 4: the sampler of GCL's second stage (cRT)",
        "The sampler of GCL's second stage (cRT)",
        (
            _row("instance", "instance-balanced", "gcl_instance_balanced"),
            _row("class_balanced", "class-balanced", "gcl_published", at_100=82.43),
            _row("effective_number", "effective number", "gcl_effective_number"),
            _row("gcl", "CBEN"),
        ),
        CIFAR_10,
    ),
    "table5": Table(
        "Table 5: GCL's re-training",
        "GCL's re-training",
        (
            _row("none", "none", "gcl", ("--config.stages=('representation',)",), at_100=80.52),
            _row("lws", "CBEN + LWS", "gcl_lws"),
            _row("tau_norm", "CBEN + tau-norm", "gcl_tau_norm"),
            _row("gcl", "CBEN + cRT"),
        ),
        CIFAR_10,
    ),
    "baselines": Table(
        "Methods of the paper's other tables and of its references, under Table 1's protocol",
        "Methods",
        _rows(
            "ce",
            "focal",
            "class_balanced_loss",
            "balanced_softmax",
            "logit_adjustment_posthoc",
            "crt",
            "lws",
            "tau_norm",
            "nearest_class_mean",
            "disalign",
            "hybrid_psc",
            "gcl_angular",
            "gcl",
        ),
        CIFAR,
        others=True,
    ),
}


def find(name: str) -> Table:
    """The table ``name``, and where it takes them the recipes that are in no table; UserError for a name that is none.

    >>> find("baselines").rows[-1].label
    'GCL'
    """
    require_one_of("the table", name, TABLES)
    table = TABLES[name]
    if not table.others:
        return table
    listed = {row.recipe for each in TABLES.values() for row in each.rows}
    return dataclasses.replace(table, rows=(*table.rows, *_rows(*(name for name in RECIPES if name not in listed))))
