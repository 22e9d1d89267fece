"""What a stage starts from: another run, one checkpoint, weights; what identifies it, and what is refused."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from ml_collections import ConfigDict
from test_experiment import params, run
from tiny import digits, load_config, override

from gcl_jax import config as config_lib
from gcl_jax.checkpoints import warm_start
from gcl_jax.errors import UserError
from gcl_jax.training import experiment
from gcl_jax.training.run_context import RunContext

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, quick_compilation):
    workdir = tmp_path_factory.mktemp("finished") / "run"
    result = experiment.run(digits(), workdir, overrides=["--config.x=1"])
    return workdir, result


def test_a_stage_that_is_done_is_not_taken_for_one_of_another_start(finished, tmp_path):
    """What an init_from holds is compared, not where it lies; for a finished run, one in between, and --eval_only."""
    other = override(digits(), {"seed": 3, "representation.epochs": 1, "stages": ("representation",)})
    run(tmp_path, other, "other")
    shutil.copytree(finished[0], tmp_path / "copy")

    def of(start):
        return override(digits(), {"classifier.init_from": str(start), "classifier.epochs": 1})

    result = run(tmp_path, of(finished[0]))
    assert run(tmp_path, of(tmp_path / "copy")) == json.loads(json.dumps(result, default=list))
    for left in ("result.json", ""):
        for eval_only in (False, True):
            with pytest.raises(
                UserError, match=r"classifier started from something else than what is asked \(.*other\)"
            ):
                run(tmp_path, of(tmp_path / "other"), eval_only=eval_only)
        if left:
            (tmp_path / "run" / left).unlink()


def test_a_start_that_was_replaced_where_it_lay_is_noticed(finished, tmp_path):
    """Of a run that goes on: else one mean would be over seeds that started from two networks."""
    shutil.copytree(finished[0], tmp_path / "start")
    config = override(digits(), {"classifier.init_from": str(tmp_path / "start"), "classifier.epochs": 1})
    run(tmp_path, config)
    short = {"representation.epochs": 1, "stages": ("representation",)}
    shutil.rmtree(tmp_path / "start")
    run(tmp_path, override(digits(), short), "start")
    (tmp_path / "run" / "result.json").unlink()
    with pytest.raises(UserError, match=r"classifier started from something else than what is asked \(.*start\)"):
        run(tmp_path, config)


def test_a_start_that_still_trains_is_refused(finished, tmp_path):
    """Its newest checkpoint would be another one tomorrow; one checkpoint by its name stays what it is."""
    workdir, _ = finished
    shutil.copytree(workdir, tmp_path / "start")
    (tmp_path / "start" / "representation" / "DONE.json").unlink()
    for start in ("start", "start/representation"):
        config = override(digits(), {"classifier.init_from": str(tmp_path / start)})
        with pytest.raises(UserError, match=r"init_from: .*representation is not finished, .*checkpoints.STEP"):
            run(tmp_path, config)
    checkpoints = tmp_path / "start" / "representation" / "checkpoints"
    step = max(int(folder.name) for folder in checkpoints.iterdir() if folder.name.isdecimal())
    found = warm_start.load(str(checkpoints / str(step)), None)
    np.testing.assert_array_equal(
        found["params"]["head"]["kernel"], params(workdir, "representation")["params/head/kernel"]
    )
    with pytest.raises(UserError, match=r"init_from: there is no .*7777"):
        warm_start.load(str(checkpoints / "7777"), None)


def test_what_a_stage_started_from_is_what_it_took_over(finished):
    """Fresh parameters are known by seed and config: their last bit is another on another kind of CPU."""
    found = warm_start.load(str(finished[0]), "representation")
    config = override(digits(), {"classifier.restore": "backbone/"})
    stage = RunContext(config).stage("classifier", 1)
    (first, _, one), (second, _, other) = (stage.start(seed, found, "start") for seed in (0, 1))
    assert not np.array_equal(first.params["head"]["kernel"], second.params["head"]["kernel"])
    assert one[0] == other[0]
    assert one[1] != other[1]  # of all, which older versions kept: a run of theirs still goes on
    whole = RunContext(digits()).stage("classifier", 1).start(0, found, "start")[2]
    expected = warm_start.digest({name: found[name] for name in ("params", "batch_stats")})
    assert whole == (expected, expected)
    assert expected != one[0]


def test_a_run_that_went_by_the_digest_of_all_goes_on(finished, tmp_path):
    """Older versions' DONE.json and checkpoints of a stage with fresh parameters; and the start may be gone by then."""
    shutil.copytree(finished[0], tmp_path / "start")
    short = {"classifier.restore": "backbone/", "classifier.epochs": 1}
    config = override(digits(), short | {"classifier.init_from": str(tmp_path / "start")})
    result = run(tmp_path, config)
    (tmp_path / "run" / "result.json").unlink()
    file = tmp_path / "run" / "classifier" / "DONE.json"
    done = json.loads(file.read_text())
    found = warm_start.load(str(tmp_path / "start"), "representation")
    taken, whole = RunContext(config).stage("classifier", 1).restore_variables(0, found, "start")[1]
    assert done["started_from"] == taken
    file.write_text(json.dumps(done | {"started_from": whole}))
    assert run(tmp_path, config)["final"] == result["final"]
    (tmp_path / "run" / "result.json").unlink()
    shutil.rmtree(tmp_path / "start")
    assert run(tmp_path, config)["final"] == result["final"]


def test_a_run_that_started_from_weights_is_not_taken_for_one_from_scratch(finished, tmp_path):
    first = override(digits(), {"stages": ("representation",), "representation.epochs": 1})
    weights = override(
        first.copy_and_resolve_references(), {"representation.init_from": f"{finished[0]}/representation"}
    )
    run(tmp_path, weights)
    for eval_only in (False, True):
        with pytest.raises(
            UserError, match=r"representation started from something else than what is asked \(no init_from\)"
        ):
            run(tmp_path, first, eval_only=eval_only)


def test_a_frozen_stage_needs_a_start(tmp_path):
    for stages in (("classifier",), ("classifier", "representation")):
        with pytest.raises(UserError, match=r"nothing to start from: set --config\.classifier\.init_from=DIR"):
            run(tmp_path, override(digits(), {"stages": stages}))
    assert not (tmp_path / "run").exists()


def test_stage_two_alone_from_another_run(finished, tmp_path):
    """From a workdir and from a stage's folder: the same classifier as in the whole run, and no first stage."""
    workdir, result = finished
    for name, start in (("a", workdir), ("b", workdir / "representation")):
        alone = run(tmp_path, override(digits(), {"classifier.init_from": str(start)}), name)
        assert list(alone["stages"]) == ["classifier"]
        assert alone["final"] == result["final"]
        ours, theirs = params(tmp_path / name, "classifier"), params(workdir, "classifier")
        for key in theirs:
            np.testing.assert_array_equal(ours[key], theirs[key], err_msg=key)


def test_a_start_that_is_not_there_or_does_not_fit_is_named(finished, tmp_path):
    workdir, _ = finished
    with pytest.raises(UserError, match=r"init_from: there is no .*nothing"):
        run(tmp_path, override(digits(), {"classifier.init_from": str(tmp_path / "nothing")}))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no checkpoints; name the folder of one stage"):
        run(tmp_path, override(digits(), {"classifier.init_from": str(tmp_path / "empty")}), "b")
    with pytest.raises(UserError, match="layer1_1/bn1/bias: it is of another model or head"):
        run(tmp_path, override(digits(), {"classifier.init_from": str(workdir), "model.name": "resnet20"}), "c")


@pytest.mark.parametrize(
    ("method", "head"),
    [
        (config_lib.method("tau_norm", tau=0.5), "half_cosine"),
        (config_lib.method("nearest_class_mean"), "nearest_mean_cl2n"),
    ],
    ids=["tau_norm", "nearest_class_mean"],
)
def test_a_stage_of_no_epochs_is_made_evaluated_and_saved(finished, tmp_path, method, head):
    """What init_params makes of the stage before is all of it; a kill before DONE.json repeats no line."""
    workdir, _ = finished
    config = digits(classifier__epochs=0, classifier__init_from=str(workdir))
    own = config_lib.stage(method, config_lib.sampler("instance"), head=head)
    config.classifier.method = ConfigDict(method)
    config.classifier.update({key: own[key] for key in ("head", "trainable", "restore")})
    result = run(tmp_path, config)
    stage = result["stages"]["classifier"]
    assert stage["steps"] == 0
    assert stage["best"]["on_test"]["test_accuracy"] == stage["final"]["test"]["accuracy"] > 20
    looked_at = run(tmp_path, config, "look", eval_only=True)
    assert looked_at["final"] == result["final"]  # not the start's, of which it makes something else
    lines = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    made, trained = params(tmp_path / "run", "classifier"), params(workdir, "representation")
    assert not np.array_equal(made["params/head/kernel"], trained["params/head/kernel"])
    for name in made:
        if name.startswith(("params/backbone", "batch_stats")):
            np.testing.assert_array_equal(made[name], trained[name], err_msg=name)
    for name in ("result.json", "classifier/DONE.json"):
        (tmp_path / "run" / name).unlink()
    assert run(tmp_path, config)["final"] == result["final"]
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == lines


@pytest.mark.slow
def test_published_weights_give_their_accuracy(stage1_weights, cifar_tool, tmp_path):
    """The authors' modules after 200 epochs: 80.02 % of the real test set, 8,002 of 10,000 up to ties."""
    npz = tmp_path / "cifar10.npz"
    subprocess.run([sys.executable, cifar_tool, "npz", "cifar10", npz], check=True)
    config = override(
        load_config("cifar10_lt:gcl"),
        {"data.source": "arrays", "data.path": str(npz), "representation.init_from": str(stage1_weights),
         "stages": ("representation",)},
    )  # fmt: skip
    found = run(tmp_path, config, eval_only=True)["final"]["test"]
    assert found["num_examples"] == 10000
    assert abs(found["correct"] - 8002) <= 2
    per_class = [94, 99, 86, 78, 79, 74, 83, 79, 67, 61]  # as published beside them, in whole percents
    np.testing.assert_allclose(found["per_class"], per_class, atol=0.5 + 1e-9)
