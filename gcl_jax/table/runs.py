"""Train what a cell needs and is not there yet, and read what it measured."""

import copy
from collections.abc import Iterable
from pathlib import Path

from etils import epath
from ml_collections import ConfigDict

from gcl_jax import config as config_lib
from gcl_jax import json_files, logs
from gcl_jax.saved import results
from gcl_jax.saved.results import COLUMNS
from gcl_jax.table.plan import Cell, Node, chain, column_name
from gcl_jax.training import experiment, tuning


def finished(node: Node, seeds: Iterable[int] | None = None) -> bool:
    """Whether ``seeds`` of ``node``, by default all of its own, have their results."""
    asked = config_lib.seeds(node.config) if seeds is None else seeds
    return all((node.folder / f"seed_{seed}" / "result.json").exists() for seed in asked)


def measure(cell: Cell, root: Path) -> dict:
    """What `found` returns, after training whatever is missing for it in ``root``, in order."""
    config, column = cell.config, column_name(cell.dataset, cell.ratio)
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
    return found(cell, root)


def found(cell: Cell, root: Path) -> dict | None:
    """What ``root`` holds: {"seeds": {seed: {"accuracy", ..., "best", "test_images", "seconds"}}, "folder", ...}.

    With "machines", on which any stage of any seed was trained, and "data", their fingerprints but for held-out runs;
    None if not all is there. "seconds" are those of all stages that the row stands on.
    """
    config, column = cell.config, column_name(cell.dataset, cell.ratio)
    before = []
    if config.tuning.key:
        before = chain(tuning.held_out(config), root, column)
        folder = epath.Path(before[-1].folder)
        if not tuning.choice_file(folder, config).exists() or not all(map(finished, before)):
            return None
        config = tuning.settled(config, folder, None)
    nodes = chain(config, root, column)
    if not all(map(finished, nodes)):
        return None
    if adjusts(config) and not (adjusted := _adjusted_file(nodes[-1], config)).exists():
        return None
    seeds = config_lib.seeds(config)
    found = {seed: _of_seed(nodes[-1], seed) for seed in seeds}
    if adjusts(config):
        evaluated = {"final": results.MEASURED["stages"][str]["final"], "best": results.DONE["best"]}
        shape = {f"seed_{seed}": {"stages": {config.stages[-1]: evaluated}} for seed in seeds}
        under_rules = json_files.read(adjusted, shape=shape)
        found = {seed: under_rules[f"seed_{seed}"] for seed in seeds}
    measured = {}
    for seed, result in found.items():
        done = result["stages"][config.stages[-1]]
        spent = [_of_seed(node, seed)["stages"][node.config.stages[-1]]["seconds"] for node in before + nodes]
        measured[seed] = {
            **{name: done["final"]["test"][name] for name in COLUMNS},
            "best": done["best"].get("on_test", {}).get("test_accuracy"),
            "test_images": done["final"]["test"]["num_examples"],
            "seconds": round(sum(spent), 1),
        }
    trained = [_of_seed(node, seed) for node in before + nodes for seed in seeds]
    return {
        "seeds": measured,
        "folder": nodes[-1].folder.name,
        "machines": sorted(set(map(_machine, trained))),
        "data": sorted({_of_seed(node, seed)["data"]["fingerprint"] for node in nodes for seed in seeds}),
    }


def _machine(result) -> str:
    device, versions = result["device"], result["versions"]
    code = f"gcl_jax {versions['gcl_jax']}" + (f" ({result['code']})" if "code" in result else "")  # it is of late
    return f"{device['count']} x {device['kind']}, Python {versions['python']}, jax {versions['jax']}, {code}"


def _run_all(nodes: list[Node]) -> dict[int, str]:
    """Run ``nodes`` in order and return {seed: folder} of the last."""
    for node in nodes:
        if not finished(node):
            logs.say(f"== {node.folder.parent.name}/{node.folder.name}")
            experiment.run(node.config, str(node.folder), folder_per_seed=True)
    return {seed: str(nodes[-1].folder / f"seed_{seed}") for seed in config_lib.seeds(nodes[-1].config)}


def _of_seed(node: Node, seed: int) -> dict:
    file = epath.Path(node.folder / f"seed_{seed}" / "result.json")
    found = json_files.read(file, shape=results.MEASURED)
    if (stage := node.config.stages[-1]) not in found["stages"]:
        raise json_files.damaged(file, f"its stages have no {stage}")
    return found


def adjusts(config: ConfigDict) -> bool:
    """Whether ``config`` has rules that are applied after training."""
    return config.posthoc.to_dict() != config_lib.TOP["posthoc"]


def _adjusted_file(node: Node, config: ConfigDict) -> epath.Path:
    """The file in the folder of ``node``, finished, for its seeds' evaluation under the posthoc rules of ``config``."""
    keys = {s: _of_seed(node, s)["stages"][node.config.stages[-1]]["stage_key"] for s in config_lib.seeds(config)}
    asked = [config.posthoc.to_dict(), keys]
    return epath.Path(node.folder / f"posthoc_{json_files.digest(asked, 10)}.json")
