"""What a table command plans before anything is trained: rows, columns, shared folders, overrides, refusals."""

import shlex

import pytest
from tiny import override

from gcl_jax.errors import UserError
from gcl_jax.table import __main__ as command
from gcl_jax.table import dry_run, plan, render
from gcl_jax.table.specs import RATIOS, TABLES
from gcl_jax.training import tuning


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
    assert [large["GCL"][dataset][0] for dataset in TABLES["table2"].columns] == [54.88, 72.01, 40.64]
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
    short = ["--config.representation.epochs=2", "--config.classifier.epochs=1"]
    found = {c.row.name: c.config for c in cells("table1", ["digits_lt"], short)}
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
    assert render.markdown(table, other, {}, []).startswith("# Methods on digits_lt\n")
    assert dry_run.describe(table, other, tmp_path, []).startswith(plan.title(table, other) + "\n")


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
    assert tuning.choice_fingerprint(other) != tuning.choice_fingerprint(tuned)


def test_a_folder_of_ones_own_has_no_ratio(tmp_path):
    columns = plan.columns_of(TABLES["baselines"], ["folder"], [])
    assert columns == [("folder", 0)]
    found = plan.cells(TABLES["baselines"], columns, [f"--config.data.path={tmp_path}"], 1, ["ce", "gcl"])
    assert {cell.config.data.path for cell in found} == {str(tmp_path)}
    assert {cell.row.name for cell in plan.chosen(found, ["ce", "gcl"])} == {"ce", "gcl"}


def test_a_rule_after_training_goes_to_the_rows_that_have_it():
    found = {c.row.name: c.config for c in cells("table1", ["digits_lt"], ["--config.posthoc.alpha=2.0"])}
    assert found["tde"].posthoc.alpha == 2.0
    assert found["ce"].posthoc.alpha == -1.0
    with pytest.raises(UserError, match=r"posthoc\.alpha is of methods that are not among the rows"):
        cells("table4", ["digits_lt"], ["--config.posthoc.alpha=2.0"])


def test_what_makes_a_row_is_not_overridden():
    found = {c.row.name: c.config for c in cells("table3", overrides=["--config.representation.method.cloud_size=log"])}
    assert found["cosine"].representation.method.cloud_size == "cosine"
