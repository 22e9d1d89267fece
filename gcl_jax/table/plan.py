"""From a declared table to runs: one folder a trained stage, shared by every row with the same stage key."""

import copy
import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from gcl_jax import command_line, config_files, json_files
from gcl_jax import config as config_lib
from gcl_jax.config import stage_fingerprint, validation
from gcl_jax.data import SOURCES
from gcl_jax.errors import UserError, require_one_of
from gcl_jax.methods import METHODS, posthoc_rules
from gcl_jax.table.specs import NO_RATIO, OWN, Row, Table, ratios_of


@dataclasses.dataclass(frozen=True)
class Cell:
    """One row on one data set and ratio, with its config resolved."""

    row: Row
    dataset: str
    ratio: int
    config: ConfigDict

    @property
    def place(self) -> tuple[str, str, int]:
        """Where it stands in the table: (row, data set, ratio)."""
        return (self.row.name, self.dataset, self.ratio)

    @property
    def name(self) -> str:
        """The same for people."""
        return f"{self.row.name} on {column_name(self.dataset, self.ratio)}"

    @property
    def published(self) -> float | None:
        """The published top-1 in %, if there is one."""
        return self.row.published.get(self.dataset, {}).get(self.ratio)


@dataclasses.dataclass(frozen=True)
class Node:
    """One stage as a run of its own: its config starts from the folder of the stage before."""

    folder: Path
    config: ConfigDict


def columns_of(table: Table, datasets: Sequence[str], ratios: Sequence[int]) -> list[tuple[str, int]]:
    """The columns (data set, ratio) asked for; all that the table declares where nothing is asked."""
    columns = []
    for dataset in datasets or table.columns:
        require_one_of("--dataset", dataset, config_files.names())
        its_ratios = ratios_of(dataset, table.columns)
        if ratios and NO_RATIO in its_ratios:
            raise UserError(f"--ratio: {dataset} is long-tailed as it is and has no other ratio; leave the flag out")
        columns += [(dataset, ratio) for ratio in ratios or its_ratios]
    return list(dict.fromkeys(columns))


def cells(
    table: Table, columns: Sequence[tuple[str, int]], overrides: Sequence[str], seeds: int, only: Sequence[str] = ()
) -> list[Cell]:
    """Every cell, column by column, its config resolved and checked.

    An override (--config.KEY=VALUE) applies to each row that has the key. Where ``only`` names rows, the others are
    there as far as they can be: what is wrong with them is left for when they are asked for. Raises UserError for a key
    that no row has, and whatever is wrong with a config.
    """
    _require_rows(only, [row.name for row in table.rows])
    unused, planned = set(overrides), []
    keys = {override: override.removeprefix("--config.").split("=")[0] for override in overrides}
    for dataset, ratio in columns:
        if ratio and "data.imbalance_ratio" in keys.values():
            raise UserError(f"the imbalance ratio of {dataset} is given as --ratio: it names the column")
        for row in table.rows:
            try:
                bare = _config(row, dataset, ratio)
                meant = [override for override, key in keys.items() if _has(bare, key)]
                unused -= set(meant)
                # The row's own last, and of a key that comes again the last one alone.
                last = {override.partition("=")[0]: override for override in [*meant, *row.overrides]}
                config = _config(row, dataset, ratio, list(last.values()))
                config.num_seeds = seeds
                validation.validate(config)
            except UserError as error:
                if only and row.name not in only:
                    continue
                raise _explained(error, row, dataset, ratio) from error
            planned.append(Cell(row, dataset, ratio, config))
    if unused:
        override = min(unused)
        complaint = config_lib.unknown_key(planned[-1].config, keys[override])
        complaint = complaint or f"config.{keys[override]} is of methods that are not among the rows"
        raise UserError(f"no row has the key of {override}; of the last: {complaint}")
    _require_own_data(chosen(planned, only))
    return planned


def _config(row: Row, dataset: str, ratio: int, overrides: Sequence[str] = ()) -> ConfigDict:
    """A row's config; UserError where its recipe has no values for ``dataset``, or an override does not fit."""
    file = config_files.folder() / config_file(row, dataset, ratio)
    return command_line.config_of(["table", f"--config={file}", *overrides])


def _explained(error: UserError, row: Row, dataset: str, ratio: int) -> UserError:
    """``error``, and with the row's name where it is the row's own, whatever is overridden."""
    try:
        validation.validate(_config(row, dataset, ratio))
    except UserError as bare:
        if str(bare) == str(error):
            return UserError(f"row {row.name!r} cannot be on {dataset} ({error}): leave it out by --only")
    return error


def _require_own_data(cells: Sequence[Cell]) -> None:
    """Columns of two data sets read two: an override of config.data goes to all columns."""
    read: dict[str, str] = {}
    for cell in cells:
        data = cell.config.data
        kind, place = SOURCES[data.source], [data.source, data.path]
        place += [stage_fingerprint.files(cell.config)] if kind.listed else []
        place += [data.name] if kind.named else []
        first = read.setdefault(json_files.digest(place, 16), cell.dataset)
        if first != cell.dataset:
            raise UserError(
                f"the columns of {first} and of {cell.dataset} would both read data.source={data.source!r}, "
                f"data.path={data.path!r}, data.name={data.name!r}: run one of them at a time, with --dataset"
            )


def _has(config: ConfigDict, key: str) -> bool:
    """Whether a row has ``key``: it is in every config, but some rules after training are of some methods only."""
    if config_lib.unknown_key(config, key) is not None:
        return False
    rule = key.removeprefix("posthoc.")
    return rule not in posthoc_rules() or any(rule in METHODS[config[s].method.name].posthoc for s in config.stages)


def chosen(cells: Sequence[Cell], only: Sequence[str]) -> list[Cell]:
    """The cells of the rows named ``only``, or all of them if it is empty; UserError for a name that is no row."""
    _require_rows(only, dict.fromkeys(cell.row.name for cell in cells))
    return [cell for cell in cells if not only or cell.row.name in only]


def _require_rows(only: Sequence[str], names: Iterable[str]) -> None:
    for name in only:
        require_one_of("--only", name, list(names))


def chain(config: ConfigDict, workdir: Path, column: str) -> list[Node]:
    """The stages of ``config`` as runs in WORKDIR/COLUMN, each in a folder named by its method and stage key.

    What is applied after training (posthoc, tuning) is left out: two rows that differ in it share their runs.
    """
    config = copy.deepcopy(config)
    config.tuning.update(config_lib.TOP["tuning"])
    config.posthoc.update(config_lib.TOP["posthoc"])
    names = config_lib.stages_to_run(config)
    nodes: list[Node] = []
    # Beside the training keys: data and a start that lie outside the table, and how often best-on-test looked. The
    # start is part of every stage's key: what stands on another first stage is another second one.
    outside = [config.data.path, config[names[0]].init_from, config.eval.every_epochs]
    outside += [files] if (files := stage_fingerprint.files(config)) else []
    for name in names:
        earlier = copy.deepcopy(config)
        earlier.stages = config.stages[: config.stages.index(name) + 1]
        if nodes:
            earlier[name].init_from = str(nodes[-1].folder)
        key = json_files.digest([stage_fingerprint.training_keys(earlier, name), outside], 10)
        nodes.append(Node(workdir / column / f"{earlier[name].method.name}_{key}", earlier))
    return nodes


def config_file(row: Row, dataset: str, ratio: int) -> str:
    """The config of a cell in configs/, with its arguments."""
    return f"{dataset}.py:{row.recipe}" + (f",{ratio}" if ratio else "")


def title(table: Table, cells: Sequence[Cell]) -> str:
    """What the table is of: its own title only where its own data are all that there is."""
    in_columns = [cell for cell in cells if cell.dataset in table.columns]
    others = dict.fromkeys(_data_name(cell) for cell in cells if cell.dataset not in table.columns)
    if not others:
        return table.title
    if not in_columns:
        return f"{table.subject} on {', '.join(others)}"
    return f"{table.title}; and its rows on {', '.join(others)}"


def _data_name(cell: Cell) -> str:
    return f"the photographs in {cell.config.data.path}" if cell.dataset == OWN else cell.dataset


def column_name(dataset: str, ratio: int) -> str:
    """The folder and heading of a column.

    >>> column_name("digits_lt", 100), column_name("places_lt", 0)
    ('digits_lt_100', 'places_lt')
    """
    return f"{dataset}_{ratio}" if ratio else dataset
