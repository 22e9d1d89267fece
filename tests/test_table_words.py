"""What a table says of itself and of its numbers, and of arguments that are none."""

import csv
import io
import json
import types

import pytest
from finished_rows import finish, of, result_of, run

from gcl_jax import logs
from gcl_jax.table import __main__ as command
from gcl_jax.table import dry_run, plan, render
from gcl_jax.table.specs import TABLES
from gcl_jax.training import experiment
from gcl_jax.training.stage_run import StageRun


@pytest.fixture(autouse=True)
def nothing_trains(monkeypatch):
    monkeypatch.setattr(experiment, "run", None)


@pytest.mark.parametrize(
    ("table", "dataset", "path", "heading"),
    [
        ("baselines", "folder", "my/photos", "# Methods on the photographs in my/photos"),
        ("table1", "folder", "x", "# Methods on the photographs in x"),
        ("baselines", "photos_lt", "", "# Methods on photos_lt"),
        ("table1", "digits_lt", "", "# Methods on digits_lt"),
        ("table5", "digits_lt", "", "# GCL's re-training on digits_lt"),
    ],
)
def test_a_table_of_other_data_has_no_word_and_no_column_of_the_paper(table, dataset, path, heading):
    columns = plan.columns_of(TABLES[table], [dataset], [])
    overrides = [f"--config.data.path={path}"] if path else []
    text = render.markdown(TABLES[table], plan.cells(TABLES[table], columns, overrides, 1, ["gcl"]), {}, [])
    assert text.splitlines()[0] == heading
    assert not {"published", "paper"} & set(text.split())
    assert "Table 1" not in text


def test_published_numbers_stand_beside_the_columns_that_have_them():
    both = plan.columns_of(TABLES["table1"], ["cifar10_lt", "digits_lt"], [])
    found = plan.cells(TABLES["table1"], both, [], 1)
    text = render.markdown(TABLES["table1"], found, {}, [])
    assert text.startswith("# Table 1: methods on CIFAR-LT, ResNet-32; and its rows on digits_lt\n")
    head = next(line for line in text.splitlines() if line.startswith("| row |"))
    assert head.count("published") == 3  # ratios 200, 100 and 50 of CIFAR-10
    assert head.endswith("| digits_lt_100: accuracy | balanced accuracy |")
    assert "| GCL | not measured | - | 79.03 | not measured | - | 82.68 |" in text


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.25])
def test_what_the_groups_follow_is_said_under_a_table(fraction):
    text = render.markdown(
        TABLES["baselines"], [of("ce", overrides=[f"--config.data.validation_fraction={fraction}"])], {}, []
    )
    assert (f"config.data.validation_fraction={fraction:g} of each class is held out" in text) == bool(fraction)


def test_a_table_is_over_the_seeds_that_were_asked_for(tmp_path):
    three, two, one = (of("ce", seeds=n) for n in (3, 2, 1))
    for seed, accuracy in enumerate((10.0, 20.0, 90.0)):
        finish(three, tmp_path, seeds=[seed], accuracy=accuracy)
    assert "| CE | 40.00 +- 43.59 | 40.00 +- 43.59 |" in run(["ce"], [three], tmp_path)
    assert "| CE | 15.00 +- 7.07 | 15.00 +- 7.07 |" in run(["ce"], [two], tmp_path)
    assert "| CE | 10.00 | 10.00 |" in run(["ce"], [one], tmp_path)


@pytest.mark.parametrize("older", [{"macro_recall": 44.0}, {"per_class": [88.0, None, 0.0]}])
def test_an_older_result_has_its_balanced_accuracy(tmp_path, older):
    ce = of("ce")
    (node,) = finish(ce, tmp_path)
    file = result_of(node.folder)
    whole = json.loads(file.read_text())
    test = whole["stages"]["representation"]["final"]["test"]
    del test["balanced_accuracy"], test["macro_recall"]
    test |= older
    file.write_text(json.dumps(whole))
    assert "| CE | 50.00 | 44.00 |" in run(["ce"], [ce], tmp_path)
    (line,) = csv.DictReader(io.StringIO((tmp_path / "baselines.csv").read_text()))
    assert (line["accuracy"], line["balanced_accuracy"]) == ("50.0", "44.0")
    assert "balanced_accuracy = macro_recall, many, medium, few: mean over classes" in line["units"]
    assert "ece: fraction" in line["units"]


@pytest.mark.parametrize("name", ["run[1]", "a*b", "what?", "[ab]c", "**"])
def test_a_workdir_is_a_name_and_no_pattern(tmp_path, name):
    ce = of("ce")
    root = tmp_path / name
    root.mkdir()
    finish(ce, root)
    assert "| CE | 50.00 |" in run(["ce"], [ce], root)
    assert "1 of 1 seeds finished" in dry_run.describe(TABLES["baselines"], [ce], root, [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ratio=" + "9" * 5000], "--ratio is '999"),
        (["--ratio=10000000000"], "at most 1000000000"),
        (["--ratio=-1"], "--ratio is '-1'"),
        (["--ratio=1e3"], "--ratio is '1e3'"),
        (["--seeds=" + "9" * 5000], "argument --seeds: invalid"),
        (["--seeds=1000000000000"], "--seeds is 1000000000000; it must be at least 1 and at most 10000"),
        (["--only=" + "x" * 100000], "--only is 'xxx"),
        (["--dataset=../configs"], "--dataset is '../configs'"),
        (["--dataset=" + "d" * 5000], "--dataset is 'ddd"),
        (["--workdir="], "--workdir is ''"),
        (["--workdir=" + "w" * 5000], "cannot be looked into"),
        (["--workdir=~no_such_user_here/x"], "cannot be looked into"),
        (["--workdir=/dev/null"], "--workdir=/dev/null is a file"),
        (["-" * 3000], "is no argument of this command"),
    ],
)
def test_hostile_arguments_end_in_one_short_line(arguments, message):
    with pytest.raises(SystemExit) as end:
        command.main(["baselines", "--workdir=x", "--dry-run", "--dataset=digits_lt", *arguments])
    told = str(end.value)
    assert told.startswith("error: ")
    assert message in told
    assert "\n" not in told
    assert len(told) < 500


@pytest.mark.parametrize(
    ("seeds", "within", "told"),
    [
        (1, None, "representation"),
        (2, None, "representation, seed 3"),
        (1, "ce on digits_lt_100", "ce on digits_lt_100, representation, seed 3"),
        (2, "ce on digits_lt_100", "ce on digits_lt_100, representation, seed 3"),
    ],
)
def test_a_line_of_training_names_row_and_seed(seeds, within, told):
    config = types.SimpleNamespace(num_seeds=seeds)
    own = types.SimpleNamespace(seed=3, stage=types.SimpleNamespace(name="representation", config=config))
    with logs.about(within or ""):
        assert StageRun._name.fget(own) == told


@pytest.mark.parametrize(("dataset", "ratio"), [("folder", ""), ("photos_lt", ""), ("digits_lt", "100")])
def test_data_that_are_no_cut_have_no_ratio(dataset, ratio):
    overrides = ["--config.data.path=x"] if dataset == "folder" else []
    every = plan.cells(
        TABLES["baselines"], plan.columns_of(TABLES["baselines"], [dataset], []), overrides, 1, ["ce", "gcl"]
    )
    seed = dict.fromkeys([*render.COLUMNS, "best", "test_images", "seconds"], 1.0)
    measured = {cell.place: {"seeds": {0: seed}, "folder": "f"} for cell in every}
    for text in (render.values_csv(every, measured), render.differences_csv(every, measured)):
        found = list(csv.DictReader(io.StringIO(text)))
        assert found
        assert {row["ratio"] for row in found} == {ratio}


def test_notes_are_of_rows_that_are_in_the_table(tmp_path):
    """As of tau-norm's choice where only CE was asked for."""
    start = f"--config.representation.init_from={tmp_path / 'R'}"
    ce, tau = of("ce", overrides=[start]), of("tau_norm", overrides=[start])
    finish(ce, tmp_path)
    text = run(["ce"], [ce, tau], tmp_path)
    assert "may have been trained on" not in text
    assert "differs between seeds in what follows only" in text
