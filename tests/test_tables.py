"""Tables that are run: what they skip, train, compare and print."""

import csv
import io
import json

import numpy as np
import pytest
from scipy import stats
from test_table_plan import cells
from tiny import digits, override

from gcl_jax.checkpoints import checkpoint
from gcl_jax.errors import UserError
from gcl_jax.table import __main__ as command
from gcl_jax.table import dry_run, plan, render, runs, significance
from gcl_jax.table.specs import TABLES
from gcl_jax.training import experiment, tuning
from gcl_jax.workdir import results

pytestmark = pytest.mark.usefixtures("quick_compilation")

SHORT = [
    "--config.representation.epochs=2",
    "--config.classifier.epochs=1",
    "--config.eval.every_epochs=1",
    "--config.seeds_at_once=1",  # so that each seed has all devices, as it has alone
    "--config.tuning.grid=(0.0, 0.5, 2.0)",
]


def test_a_difference_is_students_paired_t():
    a, b = np.array([80.1, 81.0, 79.5, 80.7]), np.array([79.0, 80.2, 79.6, 79.9])
    found, theirs = significance.paired(a, b), stats.ttest_rel(a, b)
    interval = theirs.confidence_interval(0.95)
    assert found.mean == pytest.approx((a - b).mean())
    assert found.p == pytest.approx(theirs.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert significance.paired([1.0], [2.0]) == significance.Difference(-1.0)
    assert significance.paired([1.0, 2.0], [1.0, 2.0]) == significance.Difference(0.0)
    assert significance.paired([2.0, 3.0], [1.0, 2.0]) == significance.Difference(1.0)
    assert significance.paired([0.3, 0.6], [0.1, 0.4]).p is None  # equal but for rounding
    pairs = significance.all_pairs({"x": {0: 1.0, 1: 2.0}, "y": {1: 1.0, 2: 5.0}, "z": {7: 0.0}})
    assert pairs == {("x", "y"): significance.Difference(1.0)}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((82.75, 82.73, 82.75), "+1.34 [+1.32, +1.36] p < 0.001"),
        ((81.4, 81.5, 81.41), "+0.03 [-0.11, +0.18] p = 0.423"),
        ((81.5, None, None), "+0.10"),
    ],
)
def test_a_difference_is_told_with_its_interval_and_p(values, told):
    found, reference = ({"seeds": {i: {"accuracy": x} for i, x in enumerate(v)}} for v in (values, (81.4, 81.4, 81.41)))
    assert render._difference(found, reference, "accuracy") == told


@pytest.fixture(scope="module")
def made(tmp_path_factory, quick_compilation):
    """Table 5 on digits, two seeds, a short schedule: three kinds of second stage, one of them tuned."""
    root = tmp_path_factory.mktemp("tables")
    found = cells("table5", ["digits_lt"], SHORT, seeds=2)
    command.run("table5", TABLES["table5"], found, found, root, ["header", f"overridden: {' '.join(SHORT)}"])
    return root, {c.row.name: c for c in found}


def test_a_table_equals_its_rows_run_alone(made, tmp_path):
    """Sharing a first stage and starting the second from its folder changes no bit."""
    root, found = made
    own = digits(representation__epochs=2, classifier__epochs=1, seed=1)
    alone = experiment.run(own, tmp_path / "alone")
    measured = runs.load_results(found["gcl"], root)["seeds"][1]
    assert measured["accuracy"] == alone["final"]["test"]["accuracy"]
    assert measured["nll"] == alone["final"]["test"]["nll"]
    assert measured["best"] == alone["stages"]["classifier"]["best"]["on_test"]["test_accuracy"]
    stage_1 = runs.load_results(found["none"], root)["seeds"][1]
    assert stage_1["nll"] == alone["stages"]["representation"]["final"]["test"]["nll"]


def test_the_table_holds_what_was_measured_and_under_what(made):
    root, found = made
    text = (root / "table5.md").read_text()
    assert all(override in text for override in SHORT)
    lines = list(csv.DictReader(io.StringIO((root / "table5.csv").read_text())))
    assert [(x["row"], x["seed"]) for x in lines] == [(r, s) for r in found for s in ("0", "1")]
    for name, cell in found.items():
        values = [float(x["accuracy"]) for x in lines if x["row"] == name]
        mean = f"{np.mean(values):.2f} +- {np.std(values, ddof=1):.2f}"
        best = np.mean([float(x["best_on_test"]) for x in lines if x["row"] == name])
        assert f"| {cell.row.label} | {mean} ({best:.2f}) | {mean} |" in text  # digits' test set has 50 of each class
        n, p, z = 500, np.mean(values) / 100, 1.959964  # the ends solve (p - x)^2 = z^2 x (1 - x) / n
        low, high = sorted(np.roots([1 + z**2 / n, -2 * p - z**2 / n, p**2]))
        assert f"| {mean} | [{100 * low:.2f}, {100 * high:.2f}] | {mean} |" in text
        assert [x["balanced_accuracy"] for x in lines] == [x["macro_recall"] for x in lines]
        assert {x["test_images"] for x in lines} == {"500"}
    pairs = list(csv.DictReader(io.StringIO((root / "table5_differences.csv").read_text())))
    assert {(x["row"], x["minus"]) for x in pairs} >= {("none", "gcl"), ("lws", "gcl"), ("tau_norm", "gcl")}
    assert len(pairs) == 6


def test_what_is_finished_is_not_trained_again(made, monkeypatch):
    root, found = made
    before = {path: path.stat().st_mtime_ns for path in root.rglob("DONE.json")}

    def refuse(*args, **kwargs):
        raise AssertionError("trained again")

    monkeypatch.setattr(experiment, "run", refuse)
    for cell in found.values():
        assert len(runs.run_cell(cell, root)["seeds"]) == 2
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("DONE.json")}
    text = dry_run.describe(TABLES["table5"], list(found.values()), root, SHORT)
    assert "2 of 2 seeds finished" in text
    assert " 0 of 2" not in text


def test_rows_that_saw_other_images_make_no_table(made, monkeypatch, capsys):
    root, found = made
    theirs, name = runs.load_results, found["lws"].row.name

    def changed(cell, root):
        return theirs(cell, root) | ({"data": ["other"]} if cell.row.name == name else {})

    monkeypatch.setattr(runs, "load_results", changed)
    monkeypatch.setattr(runs, "run_cell", None)  # nothing more is trained for that column
    before = (root / "table5.md").read_text()
    with pytest.raises(
        UserError, match=r"digits_lt_100: lws \(gcl_.*\) was trained on other images than none: .*--work"
    ):
        command.run("table5", TABLES["table5"], [found["none"]], list(found.values()), root, ["header"])
    assert (root / "table5.md").read_text() == before


def test_a_row_that_fails_keeps_none_of_the_others(made, monkeypatch, capsys):
    root, found = made
    theirs = runs.run_cell

    def failing(cell, root):
        if cell.row.name == "none":
            raise UserError("the loss is not finite")
        return theirs(cell, root)

    monkeypatch.setattr(runs, "run_cell", failing)
    rows, header = [found["none"], found["gcl"]], ["header", f"overridden: {' '.join(SHORT)}"]
    with pytest.raises(UserError, match="not all could be measured:\nnone on digits_lt_100: the loss is not"):
        command.run("table5", TABLES["table5"], rows, list(found.values()), root, header)
    assert "| CBEN + cRT |" in capsys.readouterr().out


def test_the_epochs_are_those_that_ran():
    (cell,) = cells("table4", ["digits_lt"], ["--config.classifier.init_from=a.npz"])[-1:]
    values = dict.fromkeys(results.COLUMNS, 1.0)
    seed = values | {"best": 1.0, "test_images": 500, "seconds": 1.0}
    measured = {("gcl", "digits_lt", 100): {"seeds": {0: seed}, "folder": "f"}}
    (line,) = csv.DictReader(io.StringIO(render.values_csv([cell], measured)))
    assert line["epochs"] == "20"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "row"),
    [pytest.param("table5", "tau_norm", marks=pytest.mark.slow), ("baselines", "logit_adjustment_posthoc")],
)
def test_seeds_can_be_added_to_a_table(tmp_path, table, row):
    """Only the new seed trains; a choice and a posthoc evaluation are made anew, as if both had been there at first."""
    one, two = (next(c for c in cells(table, ["digits_lt"], SHORT, seeds=s) if c.row.name == row) for s in (1, 2))
    first = runs.run_cell(one, tmp_path)
    assert runs.load_results(two, tmp_path) is None
    assert "1 of 2 seeds finished" in dry_run.describe(TABLES[table], [two], tmp_path, SHORT)
    trained = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("seed_0/*/DONE.json")}
    assert trained
    both = runs.run_cell(two, tmp_path)
    assert both["seeds"].keys() == {0, 1}
    assert trained == {path: path.stat().st_mtime_ns for path in trained}
    assert runs.load_results(one, tmp_path) == first
    at_once = runs.run_cell(two, tmp_path / "anew")
    assert {s: v["nll"] for s, v in both["seeds"].items()} == {s: v["nll"] for s, v in at_once["seeds"].items()}


def test_a_choice_belongs_to_its_config(made):
    """Other seeds, grids, posthoc rules, data or schedules ask for another choice."""
    _, found = made
    config = found["tau_norm"].config
    own = tuning.choice_fingerprint(config)
    for key, value in (
        ("num_seeds", 3), ("posthoc.logit_adjustment", 1.0), ("representation.epochs", 7), ("data.path", "other.npz"),
        ("tuning.grid", (0.0, 1.0)), ("tuning.validation_fraction", 0.2), ("tau_norm.init_from", "unseen"),
        ("classifier.init_from", "elsewhere"),
    ):  # fmt: skip
        other = override(config.copy_and_resolve_references(), {key: value})
        assert tuning.choice_fingerprint(other) != own, key
        assert ("may have been trained on" in tuning.warning(other)) == (key == "classifier.init_from")
    assert tuning.warning(config) == ""
    assert "may have been trained on" in tuning.warning(other)


def test_rows_not_measured_say_so(made, tmp_path):
    _, found = made
    text = render.markdown(TABLES["table5"], list(found.values()), {}, [])
    assert text.count("not measured") == 4


def test_tau_is_chosen_on_images_held_out(made):
    """Its scores are the macro recall of an independent tau-normalisation on the held-out run's own checkpoint."""
    root, found = made
    cell = found["tau_norm"]
    held = plan.chain(tuning.held_out(cell.config), root, "digits_lt_100")
    (file,) = held[-1].folder.glob("choice_*.json")
    choice = json.loads(file.read_text())
    assert choice["chosen"] == choice["grid"][int(np.argmax(choice["scores"]))]
    assert runs.load_results(cell, root)["folder"].startswith("tau_norm_")
    trained = json.loads((held[0].folder / "seed_0" / "result.json").read_text())["data"]
    assert (trained["num_train"], trained["num_validation"]) == (275, 29)
    expected = np.zeros(3)
    for seed in (0, 1):
        folder = held[-1].folder / f"seed_{seed}" / "classifier"
        expected += np.array(list(macro_recalls(cell.config, folder, choice["grid"]))) / 2
    np.testing.assert_allclose(choice["scores"], expected, atol=1e-9)


def macro_recalls(config, folder, grid):
    from gcl_jax.training.run_context import RunContext

    held = tuning.held_out(config)
    stage = RunContext(held).stage("classifier", 1)
    variables, _, _ = checkpoint.read_variables(folder / "checkpoints")
    split = stage.dataset.splits["validation"]
    images = (split.images / np.float32(255) - np.float32(0.3)) / np.float32(0.37)
    out, _ = stage.apply(variables, images.astype(np.float32), train=False)
    features = np.asarray(out["features"], np.float64)
    kernel = np.asarray(variables["params"]["head"]["kernel"], np.float64)
    for tau in grid:
        scores = features @ (kernel / np.linalg.norm(kernel, axis=0) ** tau)
        right = scores.argmax(1) == split.labels
        yield np.mean([100 * right[split.labels == j].mean() for j in np.unique(split.labels)])


def test_a_posthoc_row_is_evaluated_without_training(made, tmp_path):
    """Logit adjustment post hoc stands on the folder of CE and leaves CE's result alone."""
    found = {
        c.row.name: c for c in cells("baselines", ["digits_lt"], SHORT) if "posthoc" in c.row.name or c.row.name == "ce"
    }
    plain, adjusted = (runs.run_cell(found[name], tmp_path) for name in ("ce", "logit_adjustment_posthoc"))
    assert plain["folder"] == adjusted["folder"]
    assert adjusted["seeds"][0]["nll"] != plain["seeds"][0]["nll"]
    assert runs.load_results(found["ce"], tmp_path) == plain
    assert runs.load_results(found["logit_adjustment_posthoc"], tmp_path) == adjusted
    config = override(found["ce"].config, {"posthoc.logit_adjustment": 1.0, "num_seeds": 1})
    alone = experiment.run(config, str(tmp_path / "alone"))
    assert adjusted["seeds"][0]["accuracy"] == alone["final"]["test"]["accuracy"]


@pytest.mark.slow
def test_a_tuned_config_alone_chooses_and_keeps_its_choice(made, tmp_path):
    """main's way: the choice lies in the workdir, --eval_only reads it, another grid needs another choice."""
    root, found = made
    config = found["tau_norm"].config
    result = experiment.run(config, tmp_path / "run")
    (file,) = (tmp_path / "run" / "tuning").glob("choice_*.json")
    choice = json.loads(file.read_text())
    measured = runs.load_results(found["tau_norm"], root)["seeds"]
    assert [r["final"]["test"]["accuracy"] for r in result["seeds"].values()] == [
        m["accuracy"] for m in measured.values()
    ]
    assert result["seeds"]["seed_0"]["config"]["tau_norm"]["method"]["tau"] == choice["chosen"]
    again = experiment.run(config, tmp_path / "run", eval_only=True)
    assert again["seeds"]["seed_0"]["final"]["test"]["nll"] == result["seeds"]["seed_0"]["final"]["test"]["nll"]
    other = override(config.copy_and_resolve_references(), {"tuning.grid": (1.0,)})
    for eval_only in (True, False):
        with pytest.raises(
            UserError, match=r"holds a choice of tau_norm\.method\.tau by another rule \(config\.tuning\.grid"
        ):
            experiment.run(other, tmp_path / "run", eval_only=eval_only)
    experiment.run(config, tmp_path / "run", eval_only=True)  # the refused run left the first choice in place
    rule = override(config.copy_and_resolve_references(), {"posthoc.logit_adjustment": 1.0})
    adjusted = experiment.run(rule, tmp_path / "run", eval_only=True)["seeds"]["seed_0"]
    assert adjusted["config"]["tau_norm"]["method"]["tau"] == choice["chosen"]
    assert adjusted["final"]["test"]["nll"] != result["seeds"]["seed_0"]["final"]["test"]["nll"]
    with pytest.raises(UserError, match="under other rules after training"):
        experiment.run(rule, tmp_path / "run")
    assert experiment.run(config, tmp_path / "run") == json.loads(json.dumps(result, default=list))  # shown, not tuned
    assert len(list((tmp_path / "run" / "tuning").glob("choice_*.json"))) == 1


def test_a_folder_of_another_run_is_refused_before_anything_is_tuned(made, tmp_path):
    _, found = made
    tuned = found["tau_norm"].config.copy_and_resolve_references()
    tuned.num_seeds = 1
    with pytest.raises(UserError, match=r"holds no choice of .* yet: train first"):
        experiment.run(tuned, tmp_path / "run", eval_only=True)
    experiment.run(digits(representation__epochs=1, stages=("representation",)), tmp_path / "run")
    with pytest.raises(UserError, match="holds a run of another config"):
        experiment.run(tuned, tmp_path / "run")
    assert not (tmp_path / "run" / "tuning").exists()
