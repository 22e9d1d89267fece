"""What a table would run, and how far it is: nothing is trained and no data are read."""

from collections.abc import Sequence
from pathlib import Path

from gcl_jax import config as config_lib
from gcl_jax.errors import UserError
from gcl_jax.table import plan, runs
from gcl_jax.table.existing import find_existing
from gcl_jax.table.plan import Node
from gcl_jax.table.specs import Table
from gcl_jax.training import tuning


def describe(
    table: Table,
    cells: Sequence[plan.Cell],
    root: Path,
    overrides: Sequence[str],
    others: Sequence[plan.Cell] = (),
) -> str:
    """Each cell with its config and its stages; "shared" where an earlier cell trains the same.

    ``others`` are cells that were not asked for: what is there of them can keep a column from being measured.
    """
    known = find_existing(list({cell.place: cell for cell in [*cells, *others]}.values()), cells, root)
    overridden = [f"on all rows that have the key: {override}" for override in overrides]
    lines, seen = [plan.title(table, cells), *overridden], set()
    for cell in cells:
        column = plan.column_name(cell.dataset, cell.ratio)
        if column not in seen:
            lines += ["", column]
            refused = known.mixed.get((cell.dataset, cell.ratio))
            lines += [f"  nothing of it will be measured: {refused}"] if refused else []
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
        wrong = known.damaged.get(cell.place)
        lines += [f"    damaged: {wrong}"] if wrong and not any(wrong in line for line in lines) else []
        if runs.adjusts(cell.config):
            lines.append(f"    evaluated with posthoc {cell.config.posthoc.to_dict()}")
    return "\n".join(lines)


def _stages(nodes: Sequence[Node], seen: set, note: str = "") -> list[str]:
    lines = []
    for node in nodes:
        stage = node.config.stages[-1]
        line = f"    {note}{stage}   {node.config[stage].epochs} epochs   {node.folder.name}   "
        if node.folder in seen:
            lines.append(f"{line}shared")
            continue
        state, *damaged = _state(node)
        lines += [line + state, *(f"      damaged: {message}" for message in damaged)]
        seen.add(node.folder)
    return lines


def _state(node: Node) -> list[str]:
    """How many seeds of ``node`` are finished, and for each other one that is there what is damaged."""
    seeds, done, damaged = config_lib.seeds(node.config), 0, []
    for seed in seeds:
        try:
            if runs.finished(node, [seed]):
                runs.of_seed(node, seed)
                done += 1
        except UserError as error:
            damaged.append(str(error))
    return [f"{done} of {len(seeds)} seeds finished" + (f", {len(damaged)} damaged" if damaged else ""), *damaged]
