"""Run a table of the paper: python -m gcl_jax.table table1 --workdir=DIR [--seeds=3] [--only=gcl,ce] [--dry-run].

table1      methods on CIFAR-10-LT and CIFAR-100-LT, ratios 200, 100 and 50
table2      methods on ImageNet-LT, iNaturalist 2018 and Places-LT, which lie in data/
table3      GCL's cloud size          table4      its second stage's sampler
table5      its re-training           baselines   methods of the other tables and of the references

Finished runs are skipped, stages with the same key are trained once, and WORKDIR/TABLE.md and .csv are written after
every cell; those of a command with other columns, seeds or overrides move to TABLE_1.md, TABLE_2.md, ...
--dataset=digits_lt --ratio=100 choose columns. Every --config.KEY=VALUE applies to all rows that have the key, and is
printed over the table. A table runs in one process, on all devices that it sees.
"""

from gcl_jax.runtime import command

if __name__ == "__main__":
    command.begin()

import argparse
import datetime
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import logging

from gcl_jax import command_line, logs
from gcl_jax.errors import UserError, cut, exit_on_user_error, require, require_one_of, shown
from gcl_jax.runtime import backend, leaving, preemption, streams
from gcl_jax.table import plan, specs
from gcl_jax.table.specs import TABLES, Table

MOST_SEEDS = 10_000
MOST_RATIO = 10**9


@exit_on_user_error()
@preemption.signal_handlers()
def main(arguments: Sequence[str]) -> None:
    """Run or show the table named; a UserError becomes one line and exit status 1, a signal a stop and status 0."""
    logging.set_verbosity(logging.ERROR)
    given, overrides = parse(arguments)
    command_line.load_plugins_of(overrides)  # which may bring rows
    table, root = specs.find(given.table), _root(given.workdir)
    cells = plan.cells(table, plan.columns_of(table, given.dataset, given.ratio), overrides, given.seeds, given.only)
    chosen = plan.chosen(cells, given.only)
    backend.keep_freed_memory()
    from gcl_jax.runtime import compilation_cache, jax_settings  # the heavy half, now that the command is good
    from gcl_jax.table import dry_run

    if given.dry_run:
        print(dry_run.describe(table, chosen, root, overrides, cells))
        streams.require_written()
        return
    jax_settings.pin()
    compilation_cache.use()
    run(given.table, table, chosen, cells, root, _header(given, overrides))


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The command's arguments and its overrides; UserError for whatever is wrong with them."""
    parser = command_line.Parser(__doc__, "gcl_jax.table")
    parser.add_argument("table", metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument("--workdir", required=True, help="folder of all runs and of the tables")
    parser.add_argument("--seeds", type=int, default=1, help="seeds a cell: config.seed, config.seed + 1, ...")
    for flag, meaning in (
        ("--only", "rows to run; the table shows the others as far as they are there"),
        ("--dataset", "data sets (files of configs/) instead of the table's own"),
        ("--ratio", "imbalance ratios instead of the table's own"),
    ):
        parser.add_argument(flag, type=command_line.comma_separated, action="extend", default=[], help=meaning)
    parser.add_argument("--dry-run", action="store_true", help="print the runs and their state; train nothing")
    given, overrides = parser.parse_known_args(arguments)
    require_one_of("the table", given.table, TABLES)
    require(1 <= given.seeds <= MOST_SEEDS, "--seeds", given.seeds, f"at least 1 and at most {MOST_SEEDS}")
    for ratio in given.ratio:
        few = ratio.isdecimal() and len(ratio) <= len(str(MOST_RATIO))  # Python reads no number of 5,000 digits
        ok = few and 1 <= int(ratio) <= MOST_RATIO
        require(ok, "--ratio", ratio, f"a whole number, at least 1 and at most {MOST_RATIO}")
    given.ratio = [int(ratio) for ratio in given.ratio]
    for override in overrides:
        if not override.startswith("--config."):
            raise UserError(f"{shown(override)} is no argument of this command: see --help")
        require("=" in override, "the override", override, "--config.KEY=VALUE")
        require(override.split("=")[0] != "--config.num_seeds", "the override", override, "given as --seeds")
    return given, overrides


def _root(workdir: str) -> Path:
    """The folder of all runs; UserError for what no folder can be."""
    require(bool(workdir), "--workdir", workdir, "a folder for the runs")
    try:
        root = Path(workdir).expanduser().absolute()
        ok = not root.exists() or root.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # too long a name, no such home
        raise UserError(f"--workdir={cut(workdir)} cannot be looked into ({_reason(error)})") from error
    if not ok:
        raise UserError(f"--workdir={cut(workdir)} is a file; name a folder for the runs")
    return root


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def run(name: str, table: Table, chosen: list, cells: list, root: Path, header: list[str]) -> None:
    """Measure the ``chosen`` cells, and after each write the table of all ``cells`` that are there.

    Where it is told to stop, it says which are not finished. A row that cannot be trained or read keeps none of the
    others from theirs, nor a column whose rows do not compare the other columns: UserError tells of all at the end, but
    for a damaged row that was not asked for, of which a line and the table tell.
    """
    from gcl_jax.table import files, render, runs
    from gcl_jax.table.existing import find_existing

    text, existing = "", find_existing(cells, chosen, root)
    failed: list[str] = []
    places = {cell.place for cell in chosen}
    for cell in cells:
        if cell.place in existing.damaged and cell.place not in places:
            logs.log_info(f"== left out: {cell.name}: {existing.damaged[cell.place]}")
    for i, cell in enumerate(chosen):
        try:
            if message := existing.mixed.get((cell.dataset, cell.ratio)) or existing.damaged.get(cell.place):
                raise UserError(message)
            runs.run_cell(cell, root)
        except preemption.Stopped as stop:
            message = "".join(f"{line}\n" for line in (text, *failed, *stop.args) if line)
            left = ", ".join(left.name for left in chosen[i:])
            raise preemption.Stopped(f"{message}{name} is not finished: {left}") from stop
        except UserError as error:
            failed.append(f"{cell.name}: {error}")
            logs.log_info(f"== {failed[-1]}")
            continue
        existing = find_existing(cells, chosen, root)
        machines = sorted({machine for result in existing.measured.values() for machine in result["machines"]})
        message = [*header, f"Device: {'; '.join(machines)}."]
        text = render.markdown(table, cells, existing.measured, message, existing.damaged)
        tables = {".md": text, ".csv": render.values_csv(cells, existing.measured)}
        tables["_differences.csv"] = render.differences_csv(cells, existing.measured)
        files.write(root, name, header[0], tables)
    if text:
        print(text)
    failed += [message for message in existing.mixed.values() if not any(message in line for line in failed)]
    if failed:
        raise UserError("\n".join(["not all could be measured:", *failed]))


def _header(given: argparse.Namespace, overrides: Sequence[str]) -> list[str]:
    message = [f"--seeds={given.seeds}"]
    message += [f"--dataset={','.join(given.dataset)}"] if given.dataset else []
    message += [f"--ratio={','.join(map(str, given.ratio))}"] if given.ratio else []
    stated = "No overrides: every row has its own schedule."
    if overrides:
        stated = f"**Overridden on all rows that have the key: {' '.join(overrides)}.**"
    command = f"python -m gcl_jax.table {given.table} --workdir=DIR {shlex.join([*message, *overrides])}"
    only = f" Rows asked for: {', '.join(given.only)}." if given.only else ""
    return [f"    {command}", "", f"{stated} Seeds: {given.seeds}.{only} Written on {datetime.date.today()}."]


if __name__ == "__main__":
    with leaving.exit_within():
        main(sys.argv[1:])
