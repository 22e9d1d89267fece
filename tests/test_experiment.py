"""Whole runs in this process: contents of the results, hand-over, seeds, evaluation, refusals."""

import json
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from tiny import digits, load_config, override

from gcl_jax import config as config_lib
from gcl_jax import data
from gcl_jax.errors import UserError
from gcl_jax.saved import checkpoint, handover
from gcl_jax.training import experiment
from gcl_jax.training.parts import Parts

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, quick_compilation):
    workdir = tmp_path_factory.mktemp("finished") / "run"
    result = experiment.run(digits(), workdir, overrides=["--config.x=1"])
    return workdir, result


def run(tmp_path, config, name="run", **kwargs):
    return experiment.run(config, tmp_path / name, **kwargs)


def params(workdir, stage):
    return checkpoint.read(workdir / stage / "checkpoints")[0]


def test_result_holds_what_produced_it(finished):
    workdir, result = finished
    assert json.loads((workdir / "result.json").read_text()) == json.loads(json.dumps(result, default=list))
    assert result["data"]["num_train"] == 304
    assert result["data"]["num_test"] == 500
    assert result["data"]["class_counts"] == [124, 74, 44, 26, 16, 9, 5, 3, 2, 1]
    assert result["overrides"] == ["--config.x=1"]
    assert {"jax", "flax", "optax", "python"} <= result["versions"].keys()
    assert result["device"]["count"] == jax.device_count()
    assert list(result["stages"]) == ["representation", "classifier"]
    for stage in result["stages"].values():
        test = stage["final"]["test"]
        assert test["num_examples"] == 500
        assert test["correct"] == pytest.approx(5 * test["accuracy"])
        assert stage["best"]["on_test"]["test_accuracy"] >= test["accuracy"]
        assert stage["steps"] == 18
    assert result["final"] == result["stages"]["classifier"]["final"]


def test_metrics_lines(finished):
    workdir, _ = finished
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    logged = [(x["stage"], x["step"]) for x in lines if x["kind"] == "train"]
    assert logged == [(s, n) for s in ("representation", "classifier") for n in (4, 8, 9, 13, 17, 18)]
    assert [(x["stage"], x["epoch"]) for x in lines if x["kind"] == "test"] == [
        (s, e) for s in ("representation", "classifier") for e in (1, 2)
    ]


def test_predictions_are_kept(finished):
    workdir, result = finished
    with np.load(workdir / "classifier" / "predictions_test.npz") as found:
        true, predicted, count = found["confusion"].T
        assert count.sum() == 500
        assert count[true == predicted].sum() == result["final"]["test"]["correct"]
        assert (found["label"] == np.sort(found["label"])).mean() < 1  # in the split's own order


def test_the_backbone_does_not_move_in_stage_two(finished):
    """Bit for bit, batch statistics included; momentum and weight decay are on in this config."""
    workdir, _ = finished
    first, second = params(workdir, "representation"), params(workdir, "classifier")
    frozen = [name for name in first if name.startswith(("params/backbone", "batch_stats"))]
    assert len(frozen) > 20
    for name in frozen:
        np.testing.assert_array_equal(second[name], first[name], err_msg=name)
    assert not np.array_equal(second["params/head/kernel"], first["params/head/kernel"])


def test_eval_only_repeats_the_final_numbers_and_touches_no_result(finished):
    workdir, result = finished
    before = (workdir / "result.json").read_bytes()
    again = experiment.run(override(digits(), {"eval.batch_size": 64}), workdir, eval_only=True)
    for stage in ("representation", "classifier"):
        ours, theirs = (r["stages"][stage]["final"]["test"] for r in (again, result))
        assert ours["per_class"] == theirs["per_class"]
        assert ours["nll"] == pytest.approx(theirs["nll"], rel=1e-5)
    assert (workdir / "result.json").read_bytes() == before
    assert (workdir / "eval.json").exists()


def test_eval_only_without_a_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no checkpoint of representation, classifier; train first"):
        run(tmp_path, digits(), eval_only=True)


def test_another_config_is_refused_with_the_differing_keys(finished):
    workdir, _ = finished
    changed = override(digits(), {"seed": 5, "representation.optimizer.weight_decay": 0.0, "log.every_steps": 2})
    with pytest.raises(UserError) as error:
        experiment.run(changed, workdir)
    assert "config.representation.optimizer.weight_decay: 0.0002 -> 0.0" in str(error.value)
    assert "config.seed: 0 -> 5" in str(error.value)
    assert "log" not in str(error.value)


def copy_without(finished, tmp_path, *removed):
    """A copy of the finished run as a kill would have left it."""
    shutil.copytree(finished[0], tmp_path / "run")
    for name in ("result.json", *removed):
        path = tmp_path / "run" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return tmp_path / "run"


def test_other_data_under_a_workdir_are_refused(finished, tmp_path, monkeypatch):
    """For going on and for --eval_only: stage 1 saw these data, so stage 2 must."""
    workdir = copy_without(finished, tmp_path, "classifier")
    load = data.load

    def inverted(**kwargs):
        found = load(**kwargs)
        splits = {name: data.Split(255 - s.images, s.labels) for name, s in found.splits.items()}
        return data.Dataset(found.name, splits, found.class_names, found.positions)

    monkeypatch.setattr(data, "load", inverted)
    for eval_only in (False, True):
        with pytest.raises(UserError, match=r"holds a run of another config .*data_fingerprint"):
            experiment.run(digits(), workdir, eval_only=eval_only)


def test_a_finished_run_shows_no_result_for_other_data(tmp_path):
    """Data that lie elsewhere are compared; a finished run needs its own no more."""
    rng = np.random.default_rng(0)
    for name, levels in (("a", 256), ("moved", 256), ("b", 200)):
        images = (rng if name == "b" else np.random.default_rng(1)).integers(0, levels, (40, 8, 8, 1), np.uint8)
        labels = np.arange(40) % 2
        np.savez(tmp_path / f"{name}.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)

    def of(name):
        short = {"representation.epochs": 1, "stages": ("representation",), "representation.batch_size": 8}
        found = {"data.source": "arrays", "data.profile": "none", "data.path": str(tmp_path / f"{name}.npz")}
        return override(digits(), short | found)

    result = run(tmp_path, of("a"))
    (tmp_path / "a.npz").unlink()
    for name in ("a", "moved"):
        assert run(tmp_path, of(name)) == json.loads(json.dumps(result, default=list))
    with pytest.raises(UserError, match=r"holds a run of another config .*data_fingerprint"):
        run(tmp_path, of("b"))
    assert json.loads((tmp_path / "run" / "config.json").read_text())["config"]["data"]["path"].endswith("a.npz")


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
    found = handover.load(str(checkpoints / str(step)), None)
    np.testing.assert_array_equal(
        found["params"]["head"]["kernel"], params(workdir, "representation")["params/head/kernel"]
    )
    with pytest.raises(UserError, match=r"init_from: there is no .*7777"):
        handover.load(str(checkpoints / "7777"), None)


def test_what_a_stage_started_from_is_what_it_took_over(finished):
    """Fresh parameters are known by seed and config: their last bit is another on another kind of CPU."""
    found = handover.load(str(finished[0]), "representation")
    config = override(digits(), {"classifier.method.fresh_head": True})
    stage = Parts(config).stage("classifier", 1)
    (first, _, one), (second, _, other) = (stage.start(seed, found, "start") for seed in (0, 1))
    assert not np.array_equal(first.params["head"]["kernel"], second.params["head"]["kernel"])
    assert one[0] == other[0]
    assert one[1] != other[1]  # of all, which older versions kept: a run of theirs still goes on
    whole = Parts(digits()).stage("classifier", 1).start(0, found, "start")[2]
    expected = handover.digest({name: found[name] for name in ("params", "batch_stats")})
    assert whole == (expected, expected)
    assert expected != one[0]


def test_a_run_that_went_by_the_digest_of_all_goes_on(finished, tmp_path):
    """Older versions' DONE.json and checkpoints of a stage with fresh parameters; and the start may be gone by then."""
    shutil.copytree(finished[0], tmp_path / "start")
    short = {"classifier.method.fresh_head": True, "classifier.epochs": 1}
    config = override(digits(), short | {"classifier.init_from": str(tmp_path / "start")})
    result = run(tmp_path, config)
    (tmp_path / "run" / "result.json").unlink()
    file = tmp_path / "run" / "classifier" / "DONE.json"
    done = json.loads(file.read_text())
    found = handover.load(str(tmp_path / "start"), "representation")
    taken, whole = Parts(config).stage("classifier", 1).inherit(0, found, "start")[1]
    assert done["started_from"] == taken
    file.write_text(json.dumps(done | {"started_from": whole}))
    assert run(tmp_path, config)["final"] == result["final"]
    (tmp_path / "run" / "result.json").unlink()
    shutil.rmtree(tmp_path / "start")
    assert run(tmp_path, config)["final"] == result["final"]


def test_a_result_is_under_one_set_of_rules_after_training(finished, tmp_path):
    """Finished, or with a stage left: other rules are for --eval_only, which leaves the result alone."""
    adjusted = override(digits(), {"posthoc.logit_adjustment": 1.0})
    for workdir in (finished[0], copy_without(finished, tmp_path)):
        before = (workdir / "config.json").read_bytes()
        with pytest.raises(
            UserError, match=r"under other rules .*config\.posthoc\.logit_adjustment: 0\.0 -> 1\.0\): --eval_only"
        ):
            experiment.run(adjusted, workdir)
        assert (workdir / "config.json").read_bytes() == before
    found = experiment.run(adjusted, finished[0], eval_only=True)
    assert found["final"]["test"]["nll"] != finished[1]["final"]["test"]["nll"]


def test_eval_only_evaluates_the_stages_that_have_checkpoints(finished, tmp_path):
    """Of one that was killed before its first was complete there is nothing to evaluate."""
    workdir = copy_without(finished, tmp_path)
    for folder in (workdir / "classifier" / "checkpoints").iterdir():
        shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
    (workdir / "classifier" / "checkpoints" / "8.orbax-checkpoint-tmp-1").mkdir()
    found = experiment.run(digits(), workdir, eval_only=True)["stages"]
    assert list(found) == ["representation"]


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


def test_eval_only_with_another_training_config_is_refused(finished):
    changed = override(digits(), {"seed": 7, "data.imbalance_ratio": 10.0})
    with pytest.raises(UserError, match=r"config\.data\.imbalance_ratio: 100\.0 -> 10\.0; config\.seed: 0 -> 7"):
        experiment.run(changed, finished[0], eval_only=True)


def test_eval_only_evaluates_what_a_stage_would_start_from(finished, tmp_path):
    """Stage 2 of another run starts from that run's stage 1, not from its classifier."""
    workdir, result = finished
    config = override(digits(), {"classifier.init_from": str(workdir), "classifier.method.scale": 30.0})
    found = run(tmp_path, config, eval_only=True)["stages"]["classifier"]
    assert found["epochs"] == 0
    assert found["final"]["test"]["per_class"] == result["stages"]["representation"]["final"]["test"]["per_class"]


def test_a_frozen_stage_needs_a_start(tmp_path):
    for stages in (("classifier",), ("classifier", "representation")):
        with pytest.raises(UserError, match=r"nothing to start from: set --config\.classifier\.init_from=DIR"):
            run(tmp_path, override(digits(), {"stages": stages}))
    assert not (tmp_path / "run").exists()


def test_nothing_saved_nothing_claimed(tmp_path):
    """A first command that failed does not stand in the way of the corrected one."""
    with pytest.raises(UserError, match="init_from"):
        run(tmp_path, override(digits(), {"classifier.init_from": str(tmp_path / "nowhere")}))
    config = override(digits(), {"stages": ("representation",), "representation.epochs": 1})
    assert list(run(tmp_path, config)["stages"]) == ["representation"]


def test_damaged_files_are_named(finished, tmp_path):
    workdir = copy_without(finished, tmp_path)
    (workdir / "classifier" / "DONE.json").write_text("{bad")
    with pytest.raises(UserError, match=r"DONE\.json is damaged"):
        experiment.run(digits(), workdir)
    (workdir / "config.json").write_text("[]")
    with pytest.raises(UserError, match=r"config\.json is damaged"):
        experiment.run(digits(), workdir)
    (workdir / "config.json").unlink()
    with pytest.raises(UserError, match=r"holds a run but no config\.json"):
        experiment.run(digits(), workdir)


def test_a_workdir_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--workdir=.*file/run cannot be written"):
        run(tmp_path / "file", digits())


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
    "method",
    [config_lib.method("tau_norm", head="half_cosine", tau=0.5), config_lib.method("nearest_class_mean")],
    ids=lambda method: method["name"],
)
def test_a_stage_of_no_epochs_is_made_evaluated_and_saved(finished, tmp_path, method):
    """What init_params makes of the stage before is all of it; a kill before DONE.json repeats no line."""
    workdir, _ = finished
    config = digits(classifier__epochs=0, classifier__init_from=str(workdir))
    config.classifier.method = ConfigDict(method)
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


def test_host_loader_trains_bit_identically(finished, tmp_path):
    pytest.importorskip("tensorflow")
    workdir, result = finished
    hosted = run(tmp_path, override(digits(), {"data.loader": "host"}))
    assert hosted["final"] == result["final"]
    ours, theirs = params(tmp_path / "run", "classifier"), params(workdir, "classifier")
    for key in theirs:
        np.testing.assert_array_equal(ours[key], theirs[key], err_msg=key)


def test_validation_part_is_reported_beside_the_test_set(tmp_path):
    short = {"representation.epochs": 1, "stages": ("representation",)}
    result = run(tmp_path, override(digits(), {"data.validation_fraction": 0.2} | short))
    stage = result["stages"]["representation"]
    assert stage["final"]["validation"]["num_examples"] == result["data"]["num_validation"] > 40
    assert stage["best"].keys() == {"on_test", "on_validation"}
    assert stage["final"]["test"]["num_examples"] == 500


def test_a_diverging_run_stops_by_name_and_keeps_its_checkpoints(tmp_path):
    config = override(digits(), {"representation.optimizer.learning_rate": 1e30, "checkpoint.every_steps": 1})
    with pytest.raises(
        UserError, match=r"representation: a number became not finite at step \d+ .* Nothing of it was saved"
    ):
        run(tmp_path, config)
    for name, array in params(tmp_path / "run", "representation").items():
        assert np.isfinite(array).all(), name


def test_every_error_of_a_later_stage_shows_before_the_first_trains(tmp_path):
    with pytest.raises(UserError, match=r"config\.classifier\.batch_size is 400 but there are 304 training images"):
        run(tmp_path, override(digits(), {"classifier.batch_size": 400}))
    assert not (tmp_path / "run").exists()


def test_a_batch_that_does_not_divide_over_the_devices_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"config\.representation\.batch_size is 33, .* choose 32 or 34"):
        run(tmp_path, override(digits(), {"representation.batch_size": 33}))


def test_a_batch_for_seeds_side_by_side_has_to_suit_a_seed_that_is_left_behind(tmp_path):
    """33 images on one device each would train, but a kill can leave one seed for both devices."""
    config = override(digits(), {"representation.batch_size": 33, "num_seeds": 2, "seeds_at_once": 2})
    with pytest.raises(UserError, match=r"config\.representation\.batch_size is 33, .* choose 32 or 34"):
        run(tmp_path, config)
    assert not (tmp_path / "run").exists()


def test_an_evaluation_batch_need_not_divide(finished, tmp_path):
    """It is padded to the devices, and looks at the train batch of no stage."""
    workdir, result = finished
    found = experiment.run(override(digits(), {"eval.batch_size": 77}), workdir, eval_only=True)
    assert found["final"]["test"]["correct"] == result["final"]["test"]["correct"]


def test_bf16_keeps_parameters_and_statistics_in_float32(tmp_path):
    result = run(
        tmp_path, override(digits(), {"precision": "bf16", "representation.epochs": 1, "stages": ("representation",)})
    )
    assert np.isfinite(result["final"]["test"]["nll"])
    dtypes = {
        a.dtype for k, a in params(tmp_path / "run", "representation").items() if k.startswith(("params", "batch"))
    }
    assert dtypes == {np.dtype(np.float32)}


@pytest.mark.slow
def test_published_weights_give_their_accuracy(stage1_weights, cifar_tool, tmp_path):
    """The authors' modules after 200 epochs: 80.02 % of the real test set, 8,002 of 10,000 up to ties."""
    npz = tmp_path / "cifar10.npz"
    subprocess.run([sys.executable, cifar_tool, "npz", "cifar10", npz], check=True)
    config = override(
        load_config("cifar10_lt/gcl.py"),
        {"data.source": "arrays", "data.path": str(npz), "representation.init_from": str(stage1_weights),
         "stages": ("representation",)},
    )  # fmt: skip
    found = run(tmp_path, config, eval_only=True)["final"]["test"]
    assert found["num_examples"] == 10000
    assert abs(found["correct"] - 8002) <= 2
    per_class = [94, 99, 86, 78, 79, 74, 83, 79, 67, 61]  # as published beside them, in whole percents
    np.testing.assert_allclose(found["per_class"], per_class, atol=0.5 + 1e-9)
