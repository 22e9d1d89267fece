"""The folder of a run as an object: whose it is, its lock, the folders of its seeds, the result of all of them."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from etils import epath
from ml_collections import ConfigDict

from gcl_jax import config as config_lib
from gcl_jax import json_files, logs, paths
from gcl_jax.checkpoints import checkpoint
from gcl_jax.data import Dataset, summary
from gcl_jax.errors import UserError
from gcl_jax.runtime import distributed
from gcl_jax.workdir import host0, lock, ownership, results
from gcl_jax.workdir.seed_dir import SeedDir


class RunDir:
    """``path`` as the folder of a run of ``config``: of one seed, or with a folder for each of its ``seeds``.

    To be used by every process alike: process 0 looks and writes, and every process gets what it found. Other processes
    of this command never look at these files, so that no two of them act on different views of a file system.
    """

    def __init__(self, path: epath.Path, config: ConfigDict, *, per_seed: bool = False):
        self.path, self.config, self.per_seed = path, config, per_seed
        self.stages = config_lib.stages_to_run(config)
        self.seeds = {seed: SeedDir(path / f"seed_{seed}" if per_seed else path) for seed in config_lib.seeds(config)}
        self._config_file, self._result_file = path / "config.json", path / "result.json"

    @classmethod
    def open(cls, path: str, config: ConfigDict, *, folder_per_seed: bool = False) -> "RunDir":
        """The folder that a user names; UserError if it cannot be one of a run, or not all of it can be read."""
        root = distributed.all_or_raise(lambda: checkpoint.storable(path))
        distributed.run_on_host0(lambda: ownership.require_no_stage(root))
        opened = cls(root, config, per_seed=folder_per_seed or config.num_seeds > 1)
        distributed.run_on_host0(lambda: ownership.require_readable(opened._folders(), config.stages))
        return opened

    def of(self, config: ConfigDict) -> "RunDir":
        """The same folder under a ``config`` in which what was still to be chosen is."""
        return RunDir(self.path, config, per_seed=self.per_seed)

    def _folders(self) -> list[epath.Path]:
        return list(dict.fromkeys([self.path, *(seed.path for seed in self.seeds.values())]))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other commands out of the run and its seeds (see `lock.held`)."""
        with contextlib.ExitStack() as stack:

            def enter():
                # The root first: a folder that was made and stays empty is removed by its own lock, the innermost
                # before.
                for folder in self._folders():
                    stack.enter_context(lock.held(folder))

            distributed.run_on_host0(enter)
            yield

    def is_finished(self) -> bool:
        """Whether the results of all seeds are there."""

        def look():
            files = [seed.path / "result.json" for seed in self.seeds.values()]
            return all(file.exists() for file in files) and (not self.per_seed or self._holds_all_seeds())

        return distributed.run_on_host0(look)

    def _holds_all_seeds(self) -> bool:
        if not self._result_file.exists():
            return False
        whole = json_files.read(self._result_file, shape=results.SEEDS)["seeds"]
        return whole.keys() >= {seed.path.name for seed in self.seeds.values()}

    # Whose run it is.

    def check_before_tuning(self) -> None:
        """Raise UserError if another run is here, in more than the value that is still to be chosen."""
        keys = ownership.keys_of(self.config, self.stages, self.per_seed)
        distributed.run_on_host0(lambda: ownership.compare(self.path, keys, apart_from=self.config.tuning.key))

    def check_rules(self) -> None:
        """Raise UserError if the run here is evaluated under other posthoc rules (see `ownership.compare_rules`)."""
        distributed.run_on_host0(lambda: ownership.compare_rules(self.path, self.config))

    def has_same_rules(self) -> bool:
        """Whether the run here is evaluated under the posthoc rules of the config."""
        return distributed.run_on_host0(lambda: ownership.same_rules(self.path, self.config))

    def tuned_value(self) -> float:
        """The value that was chosen for the run here (see `ownership.tuned_value`)."""
        return distributed.run_on_host0(lambda: ownership.tuned_value(self.path, self.config))

    def claim(self, dataset: Callable[[], Dataset], check_starts: Callable[[], None], *, finished: bool) -> None:
        """Make the folder that of this run, or raise UserError with what differs from the run it holds.

        ``dataset`` reads the data; of a ``finished`` run it is asked only if the data lie elsewhere now, and nothing is
        written. ``check_starts`` is called if an init_from is not what it was, and of a run that goes on if one is
        there. A folder in which nothing has been saved yet can be claimed anew, so that a corrected command just works.
        """
        self.check_rules()
        keys = self._compared_without_data(check_starts, goes_on=not finished)
        if not finished:  # before config.json is one that the older version would not know
            distributed.run_on_host0(lambda: ownership.refuse_older_state(self.path, self.stages))
        if finished and distributed.run_on_host0(
            lambda: ownership.places(self.config) == ownership.places_in(self.path)
        ):
            return
        keys, data = self._compared(keys, dataset, goes_on=not finished)
        if finished:
            return
        distributed.run_on_host0(lambda: self._write_config({"training": keys, "data": data}))
        distributed.all_or_raise(lambda: _require_visible(self._config_file))

    def verify(self, dataset: Callable[[], Dataset], check_starts: Callable[[], None]) -> None:
        """Like `claim`, for a look that writes nothing: raise UserError if another run is here."""
        self._compared(self._compared_without_data(check_starts, goes_on=False), dataset, goes_on=False)

    def _compared_without_data(self, check_starts: Callable[[], None], *, goes_on: bool) -> dict:
        """The keys of this run, equal to those in the folder as far as they are known without the data."""
        keys = ownership.keys_of(self.config, self.stages, self.per_seed)
        starts = ownership.starts_of(self.config.to_dict(), self.stages)
        distributed.run_on_host0(lambda: ownership.compare(self.path, keys))

        def others():
            there = [start for start in starts.values() if start and paths.given(start).exists()]
            return ownership.starts_in(self.path, self.stages) != starts or (goes_on and bool(there))

        if distributed.run_on_host0(others):
            check_starts()
        return keys

    def _compared(self, keys: dict, dataset: Callable[[], Dataset], *, goes_on: bool) -> tuple[dict, dict]:
        """All keys of this run, equal to those in the folder, and what its data are."""
        same = same_data(dataset)
        fingerprint = distributed.run_on_host0(lambda: ownership.fingerprint_of(self.path, same, goes_on=goes_on))
        keys, data = keys | {"data_fingerprint": fingerprint}, summary.summary(same)
        distributed.run_on_host0(lambda: ownership.compare(self.path, keys, data))
        return keys, data

    def _write_config(self, content: dict) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            json_files.write(self._config_file, content | {"config": self.config.to_dict()})
        except OSError as error:
            raise UserError(
                f"--workdir={self.path} cannot be written ({error.strerror or error}): name another folder"
            ) from error

    # The result of several seeds.

    def written_again(self, seed_results: Mapping[int, dict]) -> dict:
        """The result of a finished run of ``seed_results``, written anew if it can be: launchers go by its time."""
        if not self.per_seed:
            return seed_results[self.config.seed]

        def again():
            whole = json_files.read(self._result_file, shape=results.SEEDS)
            with contextlib.suppress(UserError), lock.held(self.path):
                json_files.write(self._result_file, whole)
            return whole

        return _only(distributed.run_on_host0(again), seed_results)

    def write_result(self, seed_results: Mapping[int, dict]) -> dict:
        """Write the result of all seeds, of an earlier run with more of them, too; return that of ``seed_results``."""
        if not self.per_seed:
            return seed_results[self.config.seed]
        each = {f"seed_{seed}": result for seed, result in seed_results.items()}

        def write():
            others = {file.parent.name: file for file in paths.matching(self.path, "seed_*/result.json")}
            others = {name: file for name, file in sorted(others.items()) if name not in each}
            whole = each | {name: json_files.read(file, shape=results.RESULT) for name, file in others.items()}
            content = {"across_seeds": results.across_seeds(whole), "seeds": whole}
            json_files.write(self._result_file, content)
            return content

        return _only(distributed.run_on_host0(write), seed_results)

    def write_evaluation(self, seed_results: Mapping[int, dict]) -> dict:
        """Write eval.json of all seeds that were evaluated, and return what it says."""
        if not self.per_seed:
            return seed_results[self.config.seed]
        each = {f"seed_{seed}": result for seed, result in seed_results.items()}
        content = {"across_seeds": results.across_seeds(each), "seeds": each}
        host0.write_json(self.path / "eval.json", content)
        return content


def same_data(dataset: Callable[[], Dataset]) -> Dataset:
    """The data, with their fingerprint made; UserError in every process where one has none, or others."""

    def read():
        loaded = dataset()
        return loaded, loaded.fingerprint

    loaded, fingerprint = distributed.all_or_raise(read)
    distributed.assert_equal("the data set (what its files hold)", fingerprint)
    return loaded


def _only(whole: dict, seeds: Iterable[int]) -> dict:
    """The result ``whole`` of several seeds for those that are asked for, which are among them."""
    selected = {name: whole["seeds"][name] for name in (f"seed_{seed}" for seed in seeds)}
    if len(selected) == len(whole["seeds"]):
        return whole
    others = sorted(whole["seeds"].keys() - selected.keys())
    logs.log_info(f"note: the folder holds {', '.join(others)}, too, which the mean here leaves out")
    return {"across_seeds": results.across_seeds(selected), "seeds": selected}


def _require_visible(file: epath.Path) -> None:
    """Raise UserError unless ``file``, which another process has written, comes to be seen here."""
    for _ in range(60):  # a network file system may take a while
        if file.exists():
            return
        time.sleep(0.5)
    raise UserError(f"{file}, which process 0 has written, is not seen here: name a --workdir that all processes share")
