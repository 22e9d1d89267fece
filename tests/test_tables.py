"""Tables as commands: what they list, share, skip, train, compare and print."""

import csv
import io
import json
import shlex

import numpy as np
import pytest
from scipy import stats
from tiny import digits, override

from gcl_jax.errors import UserError
from gcl_jax.saved import checkpoint
from gcl_jax.table import __main__ as command
from gcl_jax.table import dry_run, plan, render, runs, significance
from gcl_jax.table.declared import RATIOS, TABLES
from gcl_jax.training import experiment, tuning

pytestmark = pytest.mark.usefixtures("quick_compilation")

SHORT = [
    "--config.representation.epochs=2",
    "--config.classifier.epochs=1",
    "--config.eval.every_epochs=1",
    "--config.seeds_at_once=1",  # so that each seed has all devices, as it has alone
    "--config.tuning.grid=(0.0, 0.5, 2.0)",
]


def cells(name, datasets=(), overrides=(), seeds=1, ratios=()):
    table = TABLES[name]
    return plan.cells(table, plan.columns_of(table, datasets, ratios), overrides, seeds)


@pytest.mark.parametrize("name", TABLES)
def test_the_dry_run_lists_every_row_in_every_column(name, tmp_path):
    found = cells(name, seeds=3)
    text = dry_run.describe(TABLES[name], found, tmp_path, [])
    columns = {(d, r) for d, ratios in TABLES[name].columns.items() for r in ratios}
    assert {(c.row.name, c.dataset, c.ratio) for c in found} == {
        (row.name, *column) for row in TABLES[name].rows for column in columns
    }
    for dataset, ratio in columns:
        part = text.split(f"\n{plan.column_name(dataset, ratio)}\n")[1].split("\n\n")[0]
        for row in TABLES[name].rows:
            line = next(line for line in part.splitlines() if line.startswith(f"  {row.name}: "))
            assert f"configs/{plan.config_file(row, dataset, ratio)}   " in f"{line}   ".replace(" --", "   --")
            published = row.published.get(dataset, {}).get(ratio)
            assert (f"published {published:.2f}" in line) if published else ("published" not in line)
    assert not list(tmp_path.iterdir())


def test_table_1_is_the_papers():
    rows = {row.label: row.published for row in TABLES["table1"].rows}
    assert TABLES["table1"].columns == {"cifar10_lt": RATIOS, "cifar100_lt": RATIOS}
    assert list(rows["GCL"]["cifar10_lt"].values()) == [79.03, 82.68, 85.46]
    assert list(rows["MiSLAS"]["cifar100_lt"].values()) == [42.33, 47.50, 52.62]
    large = {row.label: row.published for row in TABLES["table2"].rows}
    assert [v for one in large["GCL"].values() for v in one.values()] == [54.88, 72.01, 40.64]
    for name, label, accuracy in (
        ("table3", "n_max^(1/4) - n_j^(1/4)", 82.31),
        ("table4", "effective number", 82.47),
        ("table5", "CBEN + LWS", 82.25),
    ):
        row = next(row for row in TABLES[name].rows if row.label == label)
        assert row.published == {"cifar10_lt": {100: accuracy}}


def folders(found, root):
    return {c.row.name: [n.folder.name for n in plan.chain(c.config, root, "x")] for c in found}


def test_rows_share_the_stages_that_have_one_key(tmp_path):
    """Across tables too; another override, ratio or start is another folder, another seed count is not."""
    one = folders(cells("table1", ["cifar10_lt"], ratios=[100]), tmp_path)
    assert one["ce_mixup"][0] == one["ce_mixup_crt"][0] != one["mislas"][0]  # MiSLAS has batches of 128
    assert one["gcl"][0] == one["gcl_published"][0]
    assert one["gcl"][1] != one["gcl_published"][1]
    four, five = (folders(cells(name), tmp_path) for name in ("table4", "table5"))
    assert four["class_balanced"] == one["gcl_published"]
    assert five["none"] == one["gcl"][:1]
    assert five["tau_norm"][:2] == five["gcl"] == one["gcl"]
    assert folders(cells("table4", seeds=3), tmp_path) == four
    assert (
        folders(cells("table4", overrides=["--config.representation.epochs=0"]), tmp_path)["gcl"][0] != four["gcl"][0]
    )
    starts = [[f"--config.representation.init_from={name}"] for name in ("a.npz", "b.npz")]
    started = [four, *(folders(cells("table4", overrides=start), tmp_path) for start in starts)]
    for stage in (0, 1):  # what stands on another first stage is another second one
        assert len({found["gcl"][stage] for found in started}) == 3
    tuned = [next(c for c in cells("table5", overrides=start) if c.row.name == "tau_norm") for start in ([], *starts)]
    held = [plan.chain(tuning.held_out(c.config), tmp_path, "x") for c in tuned]
    for stage in (0, 1):
        assert len({nodes[stage].folder for nodes in held}) == 3
    assert folders(cells("table1", ["cifar10_lt"], ratios=[50]), tmp_path)["gcl"][0] != one["gcl"][0]


def test_overrides_go_to_every_row_that_has_the_key():
    found = {c.row.name: c.config for c in cells("table1", ["digits_lt"], SHORT[:2])}
    assert {config.representation.epochs for config in found.values()} == {2}
    assert {name for name, config in found.items() if "classifier" in config} == {
        "ce_mixup_crt", "mislas", "gcl", "gcl_published"
    }  # fmt: skip
    assert found["gcl"].classifier.epochs == 1
    with pytest.raises(UserError, match=r"no row has the key of --config\.clasifier\.epochs=1; .* nearest is"):
        cells("table1", ["digits_lt"], ["--config.clasifier.epochs=1"])
    with pytest.raises(UserError, match=r"config\.representation\.epochs is 'x'; it must be of type int"):
        cells("table1", ["digits_lt"], ["--config.representation.epochs=x"])


def test_what_is_not_there_is_named():
    with pytest.raises(UserError, match=r"--dataset is 'digit_lt' \(did you mean 'digits_lt'\?\)"):
        plan.columns_of(TABLES["table1"], ["digit_lt"], [])
    with pytest.raises(UserError, match=r"row 'instance' has no config for cifar100_lt: write .*leave it out"):
        cells("table4", ["cifar100_lt"])
    with pytest.raises(UserError, match=r"--only is 'glc' \(did you mean 'gcl'\?\)"):
        plan.chosen(cells("table4", ["digits_lt"]), ["glc"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: TABLE, --workdir"),
        (["table2x", "--workdir=x"], r"the table is 'table2x' \(did you mean"),
        (["table1"], "the following arguments are required: --workdir"),
        (["table1", "--workdir=x", "--seeds=a"], "argument --seeds: invalid int value: 'a'"),
        (["table1", "--workdir=x", "--seeds=0"], "--seeds is 0; it must be at least 1"),
        (["table1", "--workdir=x", "--ratio=a"], "--ratio is 'a'; it must be a whole number"),
        (["table1", "--workdir=x", "--ratio=\u00b2"], "--ratio is '\u00b2'; it must be a whole number"),
        (["table1", "--workdir=x", "--only="], "argument --only: names nothing; leave the flag out for all"),
        (["table1", "--workdir=x", "--config.num_seeds=2"], "given as --seeds"),
        (["table1", "--workdir=x", "--config.data.imbalance_ratio=10"], "ratio of cifar10_lt is given as --ratio"),
        (
            ["table2", "--workdir=x", "--config.data.source=packed", "--config.data.path=x"],
            "the columns of imagenet_lt and of inat2018 would both read data.source='packed', data.path='x'",
        ),
        (
            ["table1", "--workdir=x", "--config.data.source=arrays", "--config.data.path=x.npz"],
            "the columns of cifar10_lt and of cifar100_lt would both read data.source='arrays', data.path='x.npz'",
        ),
        (
            ["table1", "--workdir=x", "--config.data.name=cifar10"],
            "the columns of cifar10_lt and of cifar100_lt would both read data.source='tfds'.* with --dataset",
        ),
        (["table1", "--workdir=x", "--config.seed"], r"it must be --config\.KEY=VALUE"),
        (["table1", "--workdir=x", "--seds=2"], "'--seds=2' is no argument of this command: see --help"),
    ],
)
def test_a_wrong_command_ends_in_one_line(arguments, message):
    with pytest.raises(SystemExit, match=f"^error: .*{message}"):
        command.main(arguments)


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
    measured = runs.found(found["gcl"], root)["seeds"][1]
    assert measured["accuracy"] == alone["final"]["test"]["accuracy"]
    assert measured["nll"] == alone["final"]["test"]["nll"]
    assert measured["best"] == alone["stages"]["classifier"]["best"]["on_test"]["test_accuracy"]
    stage_1 = runs.found(found["none"], root)["seeds"][1]
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
        assert f"| {cell.row.label} | {mean} ({best:.2f}) | - |" in text
        n, p, z = 500, np.mean(values) / 100, 1.959964  # the ends solve (p - x)^2 = z^2 x (1 - x) / n
        low, high = sorted(np.roots([1 + z**2 / n, -2 * p - z**2 / n, p**2]))
        assert f"| {mean} | [{100 * low:.2f}, {100 * high:.2f}] |" in text
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
        assert len(runs.measure(cell, root)["seeds"]) == 2
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("DONE.json")}
    text = dry_run.describe(TABLES["table5"], list(found.values()), root, SHORT)
    assert "2 of 2 seeds finished" in text
    assert " 0 of 2" not in text


def test_one_data_set_at_a_time_may_lie_anywhere():
    arrays = ["--config.data.source=arrays", "--config.data.path=x.npz"]
    assert {c.config.data.path for c in cells("table1", ["cifar100_lt"], arrays)} == {"x.npz"}
    cut = [
        "--config.data.profile=exponential",
        "--config.data.imbalance_ratio=20",
    ]  # of data without a ratio of its own
    (own,) = plan.cells(TABLES["baselines"], [("folder", 0)], [*cut, "--config.data.path=x"], 1, ["gcl"])[:1]
    assert own.config.data.imbalance_ratio == 20
    where = cells("table1", overrides=["--config.data.path=tfds"])  # the names tell them apart
    assert {(c.dataset, c.config.data.name) for c in where} == {("cifar10_lt", "cifar10"), ("cifar100_lt", "cifar100")}


def test_flags_given_twice_add_up():
    given, _ = command.parse(["table1", "--workdir=x", "--only=ce", "--only=gcl,bbn", "--ratio=100"])
    assert (given.only, given.ratio) == (["ce", "gcl", "bbn"], [100])


def test_the_command_over_a_table_is_one_a_shell_takes():
    arguments = ["table5", "--workdir=x", "--dataset=digits_lt", "--config.tuning.grid=(0.0, 0.5)"]
    told = command._header(*command.parse(arguments))[0].split()
    assert shlex.split(" ".join(told))[3:] == [arguments[0], "--workdir=DIR", "--seeds=1", *arguments[2:]]


def test_a_table_of_other_data_than_its_own_says_so(tmp_path):
    own, other = cells("table1"), cells("table1", ["digits_lt"])
    table = TABLES["table1"]
    assert render.markdown(table, own, {}, []).startswith("# Table 1: methods on CIFAR-LT, ResNet-32\n")
    assert render.markdown(table, other, {}, []).startswith(
        "# Table 1: methods on CIFAR-LT, ResNet-32: its rows on digits_lt\n"
    )
    assert dry_run.describe(table, other, tmp_path, []).startswith(plan.title(table, other) + "\n")


def test_rows_that_saw_other_images_make_no_table(made, monkeypatch, capsys):
    root, found = made
    theirs, name = runs.found, found["lws"].row.name

    def changed(cell, root):
        return theirs(cell, root) | ({"data": ["other"]} if cell.row.name == name else {})

    monkeypatch.setattr(runs, "found", changed)
    monkeypatch.setattr(runs, "measure", None)  # nothing more is trained for that column
    before = (root / "table5.md").read_text()
    with pytest.raises(
        UserError, match=r"digits_lt_100: lws \(gcl_.*\) was trained on other images than none: .*--work"
    ):
        command.run("table5", TABLES["table5"], [found["none"]], list(found.values()), root, ["header"])
    assert (root / "table5.md").read_text() == before


def test_a_row_that_fails_keeps_none_of_the_others(made, monkeypatch, capsys):
    root, found = made
    theirs = runs.measure

    def failing(cell, root):
        if cell.row.name == "none":
            raise UserError("the loss is not finite")
        return theirs(cell, root)

    monkeypatch.setattr(runs, "measure", failing)
    rows, header = [found["none"], found["gcl"]], ["header", f"overridden: {' '.join(SHORT)}"]
    with pytest.raises(UserError, match="not all could be measured:\nnone on digits_lt_100: the loss is not"):
        command.run("table5", TABLES["table5"], rows, list(found.values()), root, header)
    assert "| CBEN + cRT |" in capsys.readouterr().out


def test_the_epochs_are_those_that_ran():
    (cell,) = cells("table4", ["digits_lt"], ["--config.classifier.init_from=a.npz"])[-1:]
    values = dict.fromkeys(("accuracy", "many", "medium", "few", "macro_recall", "nll", "ece"), 1.0)
    seed = values | {"best": 1.0, "test_images": 500, "seconds": 1.0}
    measured = {("gcl", "digits_lt", 100): {"seeds": {0: seed}, "folder": "f"}}
    (line,) = csv.DictReader(io.StringIO(render.values_csv([cell], measured)))
    assert line["epochs"] == "20"


@pytest.mark.parametrize(
    ("table", "row"),
    [pytest.param("table5", "tau_norm", marks=pytest.mark.slow), ("baselines", "logit_adjustment_posthoc")],
)
def test_seeds_can_be_added_to_a_table(tmp_path, table, row):
    """Only the new seed trains; a choice and a posthoc evaluation are made anew, as if both had been there at first."""
    one, two = (next(c for c in cells(table, ["digits_lt"], SHORT, seeds=s) if c.row.name == row) for s in (1, 2))
    first = runs.measure(one, tmp_path)
    assert runs.found(two, tmp_path) is None
    assert "1 of 2 seeds finished" in dry_run.describe(TABLES[table], [two], tmp_path, SHORT)
    trained = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("seed_0/*/DONE.json")}
    assert trained
    both = runs.measure(two, tmp_path)
    assert both["seeds"].keys() == {0, 1}
    assert trained == {path: path.stat().st_mtime_ns for path in trained}
    assert runs.found(one, tmp_path) == first
    at_once = runs.measure(two, tmp_path / "anew")
    assert {s: v["nll"] for s, v in both["seeds"].items()} == {s: v["nll"] for s, v in at_once["seeds"].items()}


def test_a_choice_belongs_to_its_config(made):
    """Other seeds, grids, posthoc rules, data or schedules ask for another choice."""
    _, found = made
    config = found["tau_norm"].config
    own = tuning.identity(config)
    for key, value in (
        ("num_seeds", 3), ("posthoc.logit_adjustment", 1.0), ("representation.epochs", 7), ("data.path", "other.npz"),
        ("tuning.grid", (0.0, 1.0)), ("tuning.validation_fraction", 0.2), ("tau_norm.init_from", "unseen"),
        ("classifier.init_from", "elsewhere"),
    ):  # fmt: skip
        other = override(config.copy_and_resolve_references(), {key: value})
        assert tuning.identity(other) != own, key
        assert ("may have been trained on" in tuning.warning(other)) == (key == "classifier.init_from")
    assert tuning.warning(config) == ""
    assert "may have been trained on" in tuning.warning(other)


def test_other_data_and_other_evaluations_are_other_runs(tmp_path):
    plain = folders(cells("table4", ["digits_lt"]), tmp_path)["gcl"]
    for override_ in ("--config.data.path=x.npz", "--config.eval.every_epochs=1"):
        assert folders(cells("table4", ["digits_lt"], [override_]), tmp_path)["gcl"][0] != plain[0]

    def of_lists(*given):
        rows = plan.cells(TABLES["baselines"], [("photos_lt", 0)], given, 1, ["gcl"])
        return folders(rows, tmp_path)["gcl"][0]

    keys = ("train_list=x.txt", "test_list=x.txt", "on_bad_image=skip")
    assert len({of_lists(), *(of_lists(f"--config.data.photos.{key}") for key in keys)}) == 4
    assert of_lists("--config.data.photos.allow_outside=True") == of_lists()
    tuned = {c.row.name: c.config for c in cells("baselines", ["digits_lt"])}["tau_norm"]
    other = override(tuned.copy_and_resolve_references(), {"data.photos.counts": "x.json"})
    assert tuning.identity(other) != tuning.identity(tuned)


def test_a_folder_of_ones_own_has_no_ratio(tmp_path):
    columns = plan.columns_of(TABLES["baselines"], ["folder"], [])
    assert columns == [("folder", 0)]
    found = plan.cells(TABLES["baselines"], columns, [f"--config.data.path={tmp_path}"], 1, ["ce", "gcl"])
    assert {cell.row.name: cell.config.data.path for cell in found} == dict.fromkeys(("ce", "gcl"), str(tmp_path))


def test_a_rule_after_training_goes_to_the_rows_that_have_it():
    found = {c.row.name: c.config for c in cells("table1", ["digits_lt"], ["--config.posthoc.alpha=2.0"])}
    assert found["tde"].posthoc.alpha == 2.0
    assert found["ce"].posthoc.alpha == -1.0
    with pytest.raises(UserError, match=r"posthoc\.alpha is of methods that are not among the rows"):
        cells("table4", ["digits_lt"], ["--config.posthoc.alpha=2.0"])


def test_what_makes_a_row_is_not_overridden():
    found = {c.row.name: c.config for c in cells("table3", overrides=["--config.representation.method.cloud_size=log"])}
    assert found["cosine"].representation.method.cloud_size == "cosine"


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
    assert runs.found(cell, root)["folder"].startswith("tau_norm_")
    trained = json.loads((held[0].folder / "seed_0" / "result.json").read_text())["data"]
    assert (trained["num_train"], trained["num_validation"]) == (275, 29)
    expected = np.zeros(3)
    for seed in (0, 1):
        folder = held[-1].folder / f"seed_{seed}" / "classifier"
        expected += np.array(list(macro_recalls(cell.config, folder, choice["grid"]))) / 2
    np.testing.assert_allclose(choice["scores"], expected, atol=1e-9)


def macro_recalls(config, folder, grid):
    from gcl_jax.training.parts import Parts

    held = tuning.held_out(config)
    stage = Parts(held).stage("classifier", 1)
    variables, _, _ = checkpoint.read_variables(folder / "checkpoints")
    split = stage.dataset.splits["validation"]
    images = (split.images / np.float32(255) - np.float32(0.3)) / np.float32(0.37)
    out, _ = stage.apply(variables["params"], variables["batch_stats"], images.astype(np.float32), False)
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
    plain, adjusted = (runs.measure(found[name], tmp_path) for name in ("ce", "logit_adjustment_posthoc"))
    assert plain["folder"] == adjusted["folder"]
    assert adjusted["seeds"][0]["nll"] != plain["seeds"][0]["nll"]
    assert runs.found(found["ce"], tmp_path) == plain
    assert runs.found(found["logit_adjustment_posthoc"], tmp_path) == adjusted
    config = override(found["ce"].config, {"posthoc.logit_adjustment": 1.0, "num_seeds": 1})
    alone = experiment.run(config, str(tmp_path / "alone"))
    assert adjusted["seeds"][0]["accuracy"] == alone["final"]["test"]["accuracy"]


def test_a_tuned_config_alone_chooses_and_keeps_its_choice(made, tmp_path):
    """main's way: the choice lies in the workdir, --eval_only reads it, another grid needs another choice."""
    root, found = made
    config = found["tau_norm"].config
    result = experiment.run(config, tmp_path / "run")
    (file,) = (tmp_path / "run" / "tuning").glob("choice_*.json")
    choice = json.loads(file.read_text())
    measured = runs.found(found["tau_norm"], root)["seeds"]
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
