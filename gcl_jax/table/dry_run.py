"""What a table would run, and how far it is: nothing is trained and no data are read."""

from collections.abc import Sequence
from pathlib import Path

from gcl_jax import config as config_lib
from gcl_jax.table import plan, runs
from gcl_jax.table.declared import Table
from gcl_jax.training import tuning


def describe(table: Table, cells: Sequence[plan.Cell], root: Path, overrides: Sequence[str]) -> str:
    """Each cell with its config and its stages; "shared" where an earlier cell trains the same."""
    overridden = [f"on all rows that have the key: {override}" for override in overrides]
    lines, seen = [plan.title(table, cells), *overridden], set()
    for cell in cells:
        column = plan.column_name(cell.dataset, cell.ratio)
        if column not in seen:
            lines += ["", column]
            seen.add(column)
        command = " ".join([f"configs/{plan.config_file(cell.row, cell.dataset, cell.ratio)}", *cell.row.overrides])
        published = "" if cell.published is None else f"   published {cell.published:.2f}"
        lines.append(f"  {cell.row.name}: {cell.row.label}   {command}{published}")
        nodes = plan.chain(cell.config, root, column)
        if cell.config.tuning.key:
            lines += _stages(plan.chain(tuning.held_out(cell.config), root, column), seen, "held out: ")
            lines += _stages(nodes[:-1], seen)
            grid = cell.config.tuning.grid
            lines.append(f"    {cell.config.stages[-1]}   with the best {cell.config.tuning.key} of {len(grid)}")
        else:
            lines += _stages(nodes, seen)
        if runs.adjusts(cell.config):
            lines.append(f"    evaluated with posthoc {cell.config.posthoc.to_dict()}")
    return "\n".join(lines)


def _stages(nodes, seen, note="") -> list[str]:
    lines = []
    for node in nodes:
        seeds = config_lib.seeds(node.config)
        done = sum(runs.finished(node, [seed]) for seed in seeds)
        state = "shared" if node.folder in seen else f"{done} of {len(seeds)} seeds finished"
        seen.add(node.folder)
        stage = node.config.stages[-1]
        lines.append(f"    {note}{stage}   {node.config[stage].epochs} epochs   {node.folder.name}   {state}")
    return lines
