"""What is told of a folder that is not quite the one to name, and of a run that is not quite the one it holds."""

import json

import pytest
from etils import epath
from tiny import digits, override

from gcl_jax import data, json_files, logs, trained
from gcl_jax.errors import UserError
from gcl_jax.runtime import mesh
from gcl_jax.training import batches, experiment
from gcl_jax.workdir import ownership, results
from gcl_jax.workdir.run_dir import RunDir

BELOW = ("", "/checkpoints", "/checkpoints/3", "/best_on_validation", "/best_on_validation/checkpoints/3")


def folder_of_a_run(root, config=None, seeds=(), stages=("representation", "classifier")):
    """Folders and files as a finished run leaves them, without arrays."""
    for own in [root / f"seed_{seed}" for seed in seeds] or [root]:
        for stage in stages:
            for place in (own / stage, own / stage / "best_on_validation"):
                (place / "checkpoints" / "3").mkdir(parents=True)
            (own / stage / "DONE.json").write_text('{"final": {}}')
    text = {"training": {}, "config": (config or digits()).to_dict()}
    json_files.write(root / "config.json", text)
    return root


@pytest.fixture(params=[(), (0, 1)], ids=["one seed", "seeds"])
def run(request, tmp_path):
    return folder_of_a_run(tmp_path / "run", seeds=request.param), request.param


@pytest.mark.parametrize("below", BELOW)
def test_the_folder_of_a_stage_is_known_for_one(run, below):
    root, seeds = run
    for own in [root / f"seed_{seed}" for seed in seeds] or [root]:
        place = f"{own}/classifier{below}"
        with pytest.raises(UserError, match=rf"is of a stage, classifier: name its run, --workdir={own} --stage=class"):
            trained.locate(place)
        for eval_only in (False, True):
            with pytest.raises(UserError, match=rf"is of a stage, classifier: name the folder of its run, {own}$"):
                experiment.run(digits(), place, eval_only=eval_only)


@pytest.mark.parametrize("eval_only", [False, True])
def test_the_folder_of_a_seed_is_told_apart(tmp_path, eval_only):
    root = folder_of_a_run(tmp_path / "run", seeds=(0, 1))
    told = rf"seed_1 holds a run but no config.json to tell whose: it is a seed of the run in {root}: name that"
    with pytest.raises(UserError, match=told):
        experiment.run(digits(), str(root / "seed_1"), eval_only=eval_only)
    (root / "config.json").unlink()
    with pytest.raises(UserError, match=r"no config.json to tell whose: choose another --workdir$"):
        experiment.run(digits(), str(root / "seed_1"), eval_only=eval_only)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"training": 1}', '{"training": {}, "config": 5}', "{"])
def test_nobody_is_told_to_remove_a_config(tmp_path, content):
    """Without it nobody knows whose checkpoints lie there, and they are refused."""
    root = folder_of_a_run(tmp_path / "run")
    (root / "config.json").write_text(content)
    for look in (lambda: trained.locate(str(root)), lambda: experiment.run(digits(), str(root))):
        with pytest.raises(
            UserError, match=r"config.json is damaged .*: put back the one of the run, and do not remove"
        ):
            look()


def test_folders_beside_stages_are_free(run, tmp_path):
    root, _ = run
    for place in (root, root / "tuning", root / "seed_0", root / "x" / "representation", tmp_path, tmp_path / "other"):
        ownership.require_no_stage(place)
    (root / "representation").mkdir(exist_ok=True)
    (tmp_path / "classifier" / "checkpoints").mkdir(parents=True)  # a run may be called like a stage
    ownership.require_no_stage(tmp_path / "classifier")


def test_of_several_seeds_it_is_said_whose_network_it_is(tmp_path, monkeypatch):
    note = {"class_names": ["a"], "class_counts": [1], "image_shape": [8, 8, 1]}
    found = dict.fromkeys(("params", "batch_stats", "method_state"))
    monkeypatch.setattr(trained.checkpoint, "read_variables", lambda folder: (found, note, 3))
    root = folder_of_a_run(tmp_path / "run", override(digits(), {"seed": 9}), (10, 9, 11))
    told = trained.read(str(root)).described(f"{root}/")
    assert told == f"classifier of {root}/seed_9, step 3 (for another seed name its folder: seed_10, seed_11)"
    assert trained.read(f"{root}/seed_10").described("R/seed_10") == "classifier of R/seed_10, step 3"
    (root / "seed_9" / "classifier" / "DONE.json").unlink()
    (root / "seed_9" / "representation" / "DONE.json").unlink()
    with pytest.raises(UserError, match=rf"seed_9 holds no finished stage: .* such as --workdir={root}/seed_10"):
        trained.locate(str(root))
    alone = folder_of_a_run(tmp_path / "alone")
    assert trained.read(str(alone)).described("R") == "classifier of R, step 3"
    with pytest.raises(UserError, match=r"there is no folder .*none"):
        trained.locate(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("values", "stage"),
    [
        ({"representation.epochs": 3}, "representation"),
        ({"classifier.epochs": 9}, "classifier"),
        ({"classifier.epochs": 9, "seed": 1}, "classifier"),
        ({"representation.epochs": 1}, ""),
        ({"classifier.batch_size": 16}, ""),
        ({"representation.optimizer.warmup_percent": 7.0}, ""),
    ],
)
@pytest.mark.parametrize("per_seed", [False, True])
def test_more_epochs_are_answered_with_how_to_have_them(tmp_path, values, stage, per_seed):
    def keys(config):
        return json.loads(json.dumps(ownership.keys_of(config, config.stages, per_seed), default=list))

    root = folder_of_a_run(tmp_path / "run", seeds=(0, 1) if per_seed else ())
    json_files.write(root / "config.json", {"training": keys(digits()), "config": digits().to_dict()})
    told, each = "started with", ", for each seed N alone" if per_seed else ""
    if stage:
        own = root / "seed_N" if per_seed else root
        told = rf"{told}\. A schedule is .* --config\.{stage}\.init_from={own}/{stage}{each}"
    with pytest.raises(UserError, match=f"{told}$"):
        ownership.compare(root, keys(override(digits(), values)))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"classifier.batch_size": 400}, ["config.classifier.batch_size is 400 but there are 304 training images"]),
        (
            {"representation.batch_size": 305, "classifier.batch_size": 400},
            ["config.representation.batch_size is 305 but", "config.classifier.batch_size is 400 but"],
        ),
        (
            {"representation.batch_size": 33, "classifier.batch_size": 401},
            ["representation.batch_size is 33, which does not divide", "classifier.batch_size is 401 but"],
        ),
        (
            {"representation.batch_size": 66, "representation.micro_batches": 66, "classifier.batch_size": 35},
            ["representation.batch_size / micro_batches is 1, which", "classifier.batch_size is 35, which does not"],
        ),
    ],
)
def test_what_is_wrong_with_the_batches_of_all_stages_is_told_at_once(values, told):
    config = override(digits(), values)
    with pytest.raises(UserError) as error:
        batches.check(config, config.stages, 304, mesh.make_mesh(), 1)
    assert all(part in str(error.value) for part in told), error.value
    assert str(error.value).count(";") == len(told) - 1


@pytest.mark.parametrize("on_bad_image", ["error", "skip"])
def test_batches_are_looked_at_before_photographs_are_decoded(tmp_path, monkeypatch, on_bad_image):
    """Which takes long; the images here are none, and would be told of."""
    for name, number in (("a", 10), ("b", 6)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(number):
            (tmp_path / "photos" / name / f"{i}.jpg").write_bytes(b"none")
    values = {
        "data.source": "folder", "data.path": str(tmp_path / "photos"), "data.loader": "host", "data.profile": "none",
        "data.photos.on_bad_image": on_bad_image, "data.photos.size": 32, "data.photos.resize": 36,
        "model.name": "resnet10", "representation.batch_size": 64, "classifier.batch_size": 32,
    }  # fmt: skip
    decoded = []
    monkeypatch.setattr("gcl_jax.data.corrupt.drop_corrupt", lambda *args: decoded.append(args))
    with pytest.raises(
        UserError, match=r"representation\.batch_size is 64 but there are 13 .* config\.classifier\.batch"
    ):
        experiment.run(override(digits(), values), tmp_path / "run")
    assert not decoded
    assert not (tmp_path / "run").exists()


CUT = type("Cut", (), {"splits": {}, "class_names": (), "name": "photos"})()


def test_images_that_are_skipped_may_make_a_cut_possible(tmp_path, monkeypatch):
    """So that a cut which fails with them is no reason to stop before they are known."""
    seen = []

    def cut(source, **_):
        seen.append(source)
        if len(seen) == 1:
            raise UserError("class b has too few images")
        return CUT

    monkeypatch.setattr(data, "cut", cut)
    monkeypatch.setattr(data, "left_out", lambda *_: "")
    monkeypatch.setattr("gcl_jax.data.remarks.remarks", lambda *_: [])
    monkeypatch.setattr(data, "reader", lambda _: type("reader", (), {"read": staticmethod(lambda *_: "found")}))
    monkeypatch.setattr("gcl_jax.data.corrupt.drop_corrupt", lambda *_: "settled")
    keys = dict.fromkeys(("name", "path", "profile", "imbalance_ratio", "subset_seed", "validation_fraction"))
    given = keys | {"source": "folder", "before_decoding": lambda _: None}
    assert data.load(**given, photos={"on_bad_image": "skip"}) is CUT
    assert seen == ["found", "settled"]
    seen.clear()
    with pytest.raises(UserError, match="class b has too few images"):
        data.load(**given, photos={"on_bad_image": "error"})


def of_seed(accuracy):
    test = dict.fromkeys(results.COLUMNS) | {"accuracy": accuracy, "macro_recall": 1.0, "nll": 0.5, "ece": 0.1}
    done = {"final": {"test": test}, "epochs": 1, "best": {}}
    data = {"class_counts": [2, 1], "num_train": 3, "num_test": 4}
    config = {"data": {"validation_fraction": 0.0}}
    return {"config": config, "stages": {"representation": done}, "final": done["final"], "data": data}


@pytest.mark.parametrize(("asked", "mean"), [((0, 1), 15.0), ((1, 2), 30.0), ((2,), 40.0), ((0, 1, 2), 70 / 3)])
def test_the_mean_is_over_the_seeds_that_were_asked_for(tmp_path, capsys, asked, mean):
    every = {0: of_seed(10.0), 1: of_seed(20.0), 2: of_seed(40.0)}
    for seed, result in every.items():
        (tmp_path / f"seed_{seed}").mkdir()
        json_files.write(tmp_path / f"seed_{seed}" / "result.json", result)
    run_dir = RunDir(epath.Path(tmp_path), override(digits(), {"num_seeds": 3}), per_seed=True)
    found = run_dir.write_result({seed: every[seed] for seed in asked})
    assert list(found["seeds"]) == [f"seed_{seed}" for seed in asked]
    assert found["across_seeds"]["representation"]["accuracy"]["mean"] == pytest.approx(mean)
    kept = json.loads((tmp_path / "result.json").read_text())
    assert sorted(kept["seeds"]) == ["seed_0", "seed_1", "seed_2"]
    said = capsys.readouterr().out
    assert all((f"seed_{seed}" in said) == (seed not in asked) for seed in every)
    again = run_dir.written_again({seed: every[seed] for seed in asked})
    assert again["across_seeds"]["representation"]["accuracy"]["mean"] == pytest.approx(mean)


@pytest.mark.slow
def test_an_evaluation_shows_the_best_that_training_saw(tmp_path, quick_compilation, capsys):
    """Under the rules of the run; under others, or of a mere start, there is none, and no dash for it."""
    short = {"stages": ("representation",), "model.name": "resnet8"}
    result = experiment.run(override(digits(), short), tmp_path / "run")
    best = result["stages"]["representation"]["best"]
    assert best["on_test"]["epoch"]

    def evaluated(values, name="run"):
        capsys.readouterr()
        found = experiment.run(override(digits(), short | values), tmp_path / name, eval_only=True)
        return next(iter(found["stages"].values()))["best"], capsys.readouterr().out

    seen, said = evaluated({})
    assert seen == best
    assert f"({best['on_test']['test_accuracy']:.2f})" in said
    start = {"representation.init_from": str(tmp_path / "run")}
    for other in (evaluated({"posthoc.logit_adjustment": 1.0}), evaluated(start, "new")):
        assert other[0] == {}
        assert "(-)" not in other[1]
    log = logs.MetricsLog(tmp_path / "run" / "metrics.jsonl")
    log.write({"stage": "representation", "step": 999, "epoch": 9, "kind": "test", "accuracy": 99.0})
    assert evaluated({})[0] == best  # not what came after the checkpoint
