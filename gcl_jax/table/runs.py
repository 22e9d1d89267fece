"""Train what a cell needs and is not there yet, and read what it measured."""

import copy
from collections.abc import Iterable
from pathlib import Path

from etils import epath
from ml_collections import ConfigDict

from gcl_jax import config as config_lib
from gcl_jax import json_files, logs
from gcl_jax.table import seed_files, starts
from gcl_jax.table.plan import Cell, Node, chain, column_name
from gcl_jax.training import experiment, tuning


def finished(node: Node, seeds: Iterable[int] | None = None) -> bool:
    """Whether ``seeds`` of ``node``, by default all of its own, have results; UserError if that cannot be seen."""
    wanted_seeds = config_lib.seeds(node.config) if seeds is None else seeds
    return all(seed_files.is_finished(seed_folder(node, seed)) for seed in wanted_seeds)


def seed_folder(node: Node, seed: int) -> Path:
    """Where one seed of ``node`` lies."""
    return node.folder / f"seed_{seed}"


def run_cell(cell: Cell, root: Path) -> dict:
    """What `found` returns, after training whatever is missing for it in ``root``, in order."""
    config, column = cell.config, column_name(cell.dataset, cell.ratio)
    with logs.about(cell.name):
        if config.tuning.key:
            before = chain(tuning.held_out(config), root, column)
            folders = _run_all(before)
            config = tuning.settled(config, epath.Path(before[-1].folder), lambda _: folders)
        nodes = chain(config, root, column)
        _run_all(nodes)
        if adjusts(config) and not (file := _adjusted_file(nodes[-1], config)).exists():
            adjusted = copy.deepcopy(nodes[-1].config)
            adjusted.posthoc.update(config.posthoc)
            json_files.write(
                file, experiment.run(adjusted, str(nodes[-1].folder), eval_only=True, folder_per_seed=True)["seeds"]
            )
    if (results := load_results(cell, root)) is None:
        raise RuntimeError(f"{cell.name} has no results, though all of its stages ran")
    return results


def chains(cell: Cell, root: Path) -> tuple[ConfigDict, list[Node], list[Node]]:
    """The config of ``cell`` and its stages, those on which something is chosen first, as far as they are known.

    Where the choice has still to be made, that is without the stage which it is for.
    """
    config, column, before = cell.config, column_name(cell.dataset, cell.ratio), []
    if config.tuning.key:
        before = chain(tuning.held_out(config), root, column)
        folder = epath.Path(before[-1].folder)
        file = tuning.choice_file(folder, config)
        with seed_files.reading(file), seed_files.of_our_shape(file):
            if not file.exists():
                return config, before, chain(config, root, column)[:-1]
            config = tuning.settled(config, folder, None)
            if config_lib.value_at(config, config.tuning.key) is None:
                raise TypeError("nothing is chosen")
    return config, before, chain(config, root, column)


def load_results(cell: Cell, root: Path) -> dict | None:
    """What ``root`` holds: {"seeds": {seed: {"accuracy", ..., "best", "test_images", "seconds"}}, "folder", ...}.

    With "machines", on which any stage of any seed was trained, "data", their fingerprints but for held-out runs, and
    "started_from", {(init_from, restore, seed): digest}; None if not all is there. "seconds" are those of all stages
    that the row stands on. Raises UserError for a file that is damaged.
    """
    config, before, nodes = chains(cell, root)
    if not nodes or nodes[-1].config.stages != config.stages or not all(map(finished, [*before, *nodes])):
        return None
    seeds, last = config_lib.seeds(config), config.stages[-1]
    read = {(node.folder, seed): of_seed(node, seed) for node in [*before, *nodes] for seed in seeds}
    results = {seed: read[nodes[-1].folder, seed] for seed in seeds}
    if adjusts(config):
        file = _adjusted_file(nodes[-1], config)
        with seed_files.reading(file):
            there = file.exists()
        if not there:
            return None
        results = seed_files.posthoc(file, seeds, last)
    measured = {
        seed: {
            **result["metrics"],
            "best": result["best"],
            "test_images": result["test_images"],
            "seconds": round(sum(read[node.folder, seed]["seconds"] for node in [*before, *nodes]), 1),
        }
        for seed, result in results.items()
    }
    return {
        "seeds": measured,
        "folder": nodes[-1].folder.name,
        "machines": sorted({seed_result["machine"] for seed_result in read.values()}),
        "data": sorted({read[node.folder, seed]["data"] for node in nodes for seed in seeds}),
        "started_from": {
            (block.init_from, block.restore, seed): digest
            for node in [*before, *nodes]
            for seed in seeds
            if (block := node.config[node.config.stages[-1]]).init_from
            and (digest := read[node.folder, seed]["started_from"])
        },
    }


def replaced_start(cell: Cell, root: Path) -> str:
    """What is wrong with the first finished stage of ``cell`` whose start holds other weights now, or nothing."""
    _, before, nodes = chains(cell, root)
    for node in [*before, *nodes]:
        for seed in config_lib.seeds(node.config):
            if not finished(node, [seed]):
                continue
            if start := starts.replaced(node, seed, of_seed(node, seed)["started_from"]):
                return (
                    f"{cell.row.name} ({node.folder.name}, seed {seed}) started from other weights than {start} holds "
                    "now: they have been replaced in between. Nothing is lost, but what is trained from now on does "
                    "not compare with it: put them back, use another --workdir, or remove "
                    f"{node.folder} to have it trained again"
                )
    return ""


def _run_all(nodes: list[Node]) -> dict[int, str]:
    """Run ``nodes`` in order and return {seed: folder} of the last."""
    for node in nodes:
        if not finished(node):
            seeds = ", ".join(map(str, config_lib.seeds(node.config)))
            about = f"{logs.named(node.config.stages[-1])}, seed{'s' if node.config.num_seeds > 1 else ''} {seeds}"
            logs.log_info(f"== {about}: {node.folder.parent.name}/{node.folder.name}")
            experiment.run(node.config, str(node.folder), folder_per_seed=True)
    return {seed: str(seed_folder(nodes[-1], seed)) for seed in config_lib.seeds(nodes[-1].config)}


def of_seed(node: Node, seed: int) -> dict:
    """What one finished seed of ``node`` left, see `seed_files.read`."""
    return seed_files.read(seed_folder(node, seed), node.config.stages[-1])


def adjusts(config: ConfigDict) -> bool:
    """Whether ``config`` has rules that are applied after training."""
    return config.posthoc.to_dict() != config_lib.TOP["posthoc"]


def _adjusted_file(node: Node, config: ConfigDict) -> epath.Path:
    """The file in the folder of ``node``, finished, for its seeds' evaluation under the posthoc rules of ``config``."""
    keys = {seed: of_seed(node, seed)["stage_key"] for seed in config_lib.seeds(config)}
    rules = [config.posthoc.to_dict(), keys]
    return epath.Path(node.folder / f"posthoc_{json_files.digest(rules, 10)}.json")
