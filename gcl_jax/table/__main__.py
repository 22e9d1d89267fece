"""Run a table of the paper: python -m gcl_jax.table table1 --workdir=DIR [--seeds=3] [--only=gcl,ce] [--dry-run].

table1      methods on CIFAR-10-LT and CIFAR-100-LT, ratios 200, 100 and 50
table3      GCL's cloud size          table4      its second stage's sampler
table5      its re-training           baselines   methods of the other tables and of the references

Finished runs are skipped, stages with the same key are trained once, and WORKDIR/TABLE.md and .csv are written after
every cell. --dataset=digits_lt --ratio=100 choose columns. Every --config.KEY=VALUE applies to all rows that have the
key, and is printed over the table.
"""

import datetime
from pathlib import Path

from absl import app, flags, logging

from gcl_jax import backend
from gcl_jax.errors import UserError, in_one_line, require, require_one_of
from gcl_jax.table import plan
from gcl_jax.table.declared import TABLES, Table

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of all runs and of the tables.")
_SEEDS = flags.DEFINE_integer("seeds", 1, "Seeds a cell: config.seed, config.seed + 1, ...")
_ONLY = flags.DEFINE_list("only", [], "Rows to run, by name; the table shows the others as far as they are there.")
_DATASET = flags.DEFINE_list("dataset", [], "Data sets (folders of configs/) instead of the table's own.")
_RATIO = flags.DEFINE_list("ratio", [], "Imbalance ratios instead of the table's own.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print the runs and their state; train nothing.")


@in_one_line()
def main(argv: list[str]) -> None:
    """Run or show the table named; a UserError becomes one line and exit status 1."""
    logging.set_verbosity(logging.ERROR)
    name, overrides = argv[1], argv[2:]
    table, root = TABLES[name], Path(_WORKDIR.value).expanduser().absolute()
    columns = plan.columns_of(table, _DATASET.value, [int(ratio) for ratio in _RATIO.value])
    cells = plan.cells(table, columns, overrides, _SEEDS.value)
    chosen = plan.chosen(cells, _ONLY.value)
    backend.keep_freed_memory()
    from gcl_jax import compilation_cache  # the heavy half, now that the command is good
    from gcl_jax.table import dry_run

    if _DRY_RUN.value:
        print(dry_run.describe(table, chosen, root, overrides))
        return
    compilation_cache.use()
    run(name, table, chosen, cells, root, _header(name, overrides))


def run(name: str, table: Table, chosen: list, cells: list, root: Path, header: list[str]) -> None:
    """Measure the ``chosen`` cells, and after each write the table of all ``cells`` that are there."""
    from gcl_jax.table import render, runs

    for cell in chosen:
        runs.measure(cell, root)
        measured = {}
        for shown in cells:
            if found := runs.found(shown, root):
                measured[shown.row.name, shown.dataset, shown.ratio] = found
        machines = sorted({_machine(found) for found in measured.values()})
        text = render.markdown(table, cells, measured, [*header, f"Device: {'; '.join(machines)}."])
        (root / f"{name}.md").write_text(text)
        (root / f"{name}.csv").write_text(render.values_csv(cells, measured))
        (root / f"{name}_differences.csv").write_text(render.differences_csv(cells, measured))
    print(text)


def _machine(found) -> str:
    device, versions = found["device"], found["versions"]
    return f"{device['count']} x {device['kind']}, Python {versions['python']}, jax {versions['jax']}"


def _header(name, overrides) -> list[str]:
    given = [f"--seeds={_SEEDS.value}"]
    given += [f"--{flag}={','.join(v)}" for flag, v in (("dataset", _DATASET.value), ("ratio", _RATIO.value)) if v]
    stated = "No overrides: every row has its own schedule."
    if overrides:
        stated = f"**Overridden on all rows that have the key: {' '.join(overrides)}.**"
    command = " ".join(["python -m gcl_jax.table", name, *given, *overrides])
    return [f"    {command}", "", f"{stated} Seeds: {_SEEDS.value}. {datetime.date.today()}."]


@in_one_line()
def _parse(argv: list[str]) -> list[str]:
    overrides = [a for a in argv[1:] if a.startswith("--config.")]
    rest = flags.FLAGS(["--dry_run" if a == "--dry-run" else a for a in argv if a not in overrides])
    if len(rest) != 2:
        raise UserError(f"name one table: {', '.join(TABLES)}")
    require_one_of("the table", rest[1], TABLES)
    if not _WORKDIR.value:
        raise UserError("--workdir is missing; name a folder for the runs and tables")
    require(_SEEDS.value >= 1, "--seeds", _SEEDS.value, "at least 1")
    for ratio in _RATIO.value:
        require(ratio.isdigit() and int(ratio) >= 1, "--ratio", ratio, "a whole number, at least 1")
    for override in overrides:
        require("=" in override, "the override", override, "--config.KEY=VALUE")
        key = override.split("=")[0].split(".", 1)[1]
        require(key != "num_seeds", "the override", override, "given as --seeds")
    return [*rest, *overrides]


if __name__ == "__main__":
    app.run(main, flags_parser=_parse)
