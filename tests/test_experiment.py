"""Whole runs in this process: contents of the results, hand-over, seeds, evaluation, refusals."""

import json
import shutil

import jax
import numpy as np
import pytest
from tiny import digits, override

from gcl_jax import data
from gcl_jax.checkpoints import checkpoint
from gcl_jax.errors import UserError
from gcl_jax.training import experiment

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
        assert again["stages"][stage]["best"] == result["stages"][stage]["best"]  # which training saw
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
        with pytest.raises(UserError, match=r"holds a run on other data \(images, labels"):
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
    with pytest.raises(UserError, match=r"holds a run on other data \(images, labels"):
        run(tmp_path, of("b"))
    assert json.loads((tmp_path / "run" / "config.json").read_text())["config"]["data"]["path"].endswith("a.npz")


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
    config = override(
        digits(),
        {
            "representation.optimizer.learning_rate": 1000.0,
            "representation.optimizer.weight_decay": 100.0,
            "checkpoint.every_steps": 1,
        },
    )
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
