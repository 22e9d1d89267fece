"""Rows of a table that were not asked for, or are damaged, keep the others from nothing."""

import json
import os

import pytest
from finished_rows import finish, of, result_of, run

from gcl_jax.errors import UserError
from gcl_jax.table import __main__ as command
from gcl_jax.table import dry_run, plan
from gcl_jax.table.specs import TABLES
from gcl_jax.training import experiment, tuning


@pytest.fixture(autouse=True)
def nothing_trains(monkeypatch):
    monkeypatch.setattr(experiment, "run", None)


# What was not asked for


@pytest.mark.parametrize(
    ("table", "row", "overrides"),
    [
        ("table1", "gcl", ["--config.model.name=resnet10"]),  # which has no experts, as BBN needs
        ("table1", "ce", ["--config.classifier.batch_size=0"]),
        ("table1", "ce", ["--config.classifier.epochs=x"]),
        ("table1", "ldam_drw", ["--config.model.name=resnet18"]),
        ("baselines", "ce", ["--config.tuning.grid=()"]),
        ("baselines", "gcl", ["--config.tuning.grid=(-1.0,)"]),
    ],
)
def test_only_the_rows_asked_for_are_checked(table, row, overrides, tmp_path):
    columns = plan.columns_of(TABLES[table], ["digits_lt"], [])
    with pytest.raises(UserError):
        plan.cells(TABLES[table], columns, overrides, 1)
    found = plan.cells(TABLES[table], columns, overrides, 1, [row])
    (own,) = plan.chosen(found, [row])
    assert own.row.name == row
    assert f"  {row}: " in dry_run.describe(TABLES[table], [own], tmp_path, overrides, found)
    arguments = [table, f"--workdir={tmp_path}", "--dataset=digits_lt", f"--only={row}", "--dry-run", *overrides]
    command.main(arguments)


@pytest.mark.parametrize(
    "overrides", [["--config.model.name=resnet10"], ["--config.model.nam=resnet8"], ["--config.seed=-1"]]
)
def test_what_is_wrong_with_a_row_asked_for_is_said(overrides):
    columns = plan.columns_of(TABLES["table1"], ["digits_lt"], [])
    with pytest.raises(UserError):
        plan.cells(TABLES["table1"], columns, overrides, 1, ["gcl", "bbn"])


def test_a_row_without_a_config_is_in_the_way_of_itself_alone():
    table = TABLES["table1"]
    columns = plan.columns_of(table, ["photos_lt"], [])
    assert [c.row.name for c in plan.chosen(plan.cells(table, columns, [], 1, ["gcl"]), ["gcl"])] == ["gcl"]
    with pytest.raises(UserError, match=r"row 'bbn' cannot be on photos_lt \(config\.model.*: leave it out by --only"):
        plan.cells(table, columns, [], 1, ["bbn"])
    with pytest.raises(UserError, match=r"--only is 'glc' \(did you mean 'gcl'\?\)"):
        plan.cells(table, columns, [], 1, ["glc"])


# Damage


def edited(change):
    """Well-formed JSON of another shape."""

    def damage(folder):
        whole = json.loads(result_of(folder).read_text())
        result_of(folder).write_text(json.dumps(change(whole, next(iter(whole["stages"].values())))))

    return damage


def without_a_metric(whole, stage):
    del stage["final"]["test"]["nll"]
    return whole


def with_text_for_a_number(whole, stage):
    stage["final"]["test"]["accuracy"] = "ninety"
    return whole


DAMAGE = {
    "cut short": lambda folder: result_of(folder).write_text('{"stages": {'),
    "empty": lambda folder: result_of(folder).write_text(""),
    "a list": lambda folder: result_of(folder).write_text("[1, 2]"),
    "no stages": edited(lambda whole, stage: {"final": 1}),
    "stages of text": edited(lambda whole, stage: whole | {"stages": "none"}),
    "a stage of null": edited(lambda whole, stage: whole | {"stages": dict.fromkeys(whole["stages"])}),
    "no data": edited(lambda whole, stage: whole | {"data": [1]}),
    "no device": edited(lambda whole, stage: whole | {"device": None}),
    "no nll": edited(without_a_metric),
    "text for a number": edited(with_text_for_a_number),
    "an infinite number": lambda folder: result_of(folder).write_text(
        result_of(folder).read_text().replace("50.0", "1e999")
    ),
    "DONE.json": lambda folder: (folder / "seed_0/representation/DONE.json").write_text("{"),
    "result.json of all seeds": lambda folder: (folder / "result.json").write_text("[]"),
    "config.json": lambda folder: (folder / "config.json").write_text("null"),
    "predictions": lambda folder: (folder / "seed_0/representation/predictions_test.npz").write_bytes(b"PK\x03\x04"),
    "predictions cut": lambda folder: os.truncate(folder / "seed_0/representation/predictions_test.npz", 99),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_row_that_was_not_asked_for_is_left_out_with_a_word(tmp_path, capsys, damage):
    ce, focal = of("ce"), of("focal")
    finish(focal, tmp_path, accuracy=60.0)
    (node,) = finish(ce, tmp_path)
    assert "| CE | 50.00 | 50.00 |" in run(["focal"], [ce, focal], tmp_path)
    DAMAGE[damage](node.folder)
    text = run(["focal"], [ce, focal], tmp_path)
    assert "| CE | damaged | - |" in text
    assert "| focal | 60.00 | 60.00 |" in text
    assert "50.00" not in text
    assert f"ce on digits_lt_100 is left out: {node.folder}" in text.replace("the row's predictions: ", "")
    assert "== left out: ce on digits_lt_100: " in capsys.readouterr().out
    with pytest.raises(UserError, match=r"^not all could be measured:\nce on digits_lt_100: .*[^\n]*$"):
        run(["ce", "focal"], [ce, focal], tmp_path)
    told = dry_run.describe(TABLES["baselines"], [ce, focal], tmp_path, [])
    assert "0 of 1 seeds finished, 1 damaged\n      damaged: " in told
    assert told.count("1 of 1 seeds finished") == 1
    assert str(node.folder) in told


@pytest.mark.parametrize("name", ["result.json", "representation", ""])
def test_a_folder_that_cannot_be_read_is_one_rows_trouble(tmp_path, monkeypatch, name):
    ce, focal = of("ce"), of("focal")
    finish(focal, tmp_path)
    (node,) = finish(ce, tmp_path)
    closed = node.folder / "seed_0" / name
    for method in ("exists", "read_text", "stat"):
        theirs = getattr(type(tmp_path), method)

        def refusing(self, *args, theirs=theirs, **kwargs):
            if closed == self or closed in self.parents:
                raise PermissionError(13, "Permission denied", str(self))
            return theirs(self, *args, **kwargs)

        monkeypatch.setattr(type(tmp_path), method, refusing)
    assert "| CE | damaged | - |" in run(["focal"], [ce, focal], tmp_path)
    assert "1 damaged" in dry_run.describe(TABLES["baselines"], [ce, focal], tmp_path, [])


@pytest.mark.parametrize("damage", ["{", "[]", '{"chosen": "much"}', '{"chosen": null}', '{"grid": []}'])
def test_a_damaged_choice_is_one_rows_trouble(tmp_path, damage):
    ce, tuned = of("ce"), of("tau_norm")
    finish(ce, tmp_path)
    held = plan.chain(tuning.held_out(tuned.config), tmp_path, "digits_lt_100")[-1].folder
    held.mkdir(parents=True)
    tuning.choice_file(held, tuned.config).write_text(damage)
    assert "| tau-norm | damaged | - |" in run(["ce"], [ce, tuned], tmp_path)
    assert "damaged: " in dry_run.describe(TABLES["baselines"], [ce, tuned], tmp_path, [])
