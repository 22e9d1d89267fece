"""The grid of launch/sweep.py: a point stands in it once, however it is written; what is wrong is found first."""

import importlib.util

import pytest
from test_sweep import CONFIG, SWEEP

spec = importlib.util.spec_from_file_location("sweep", SWEEP)
sweep = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sweep)

RATE = "representation.optimizer.learning_rate"


@pytest.mark.parametrize(
    "grid",
    [
        ["seed=1,01"],
        ["seed=1,0_1"],
        ["seed=1,+1"],
        ["seed=0,1", f"{RATE}=1e-1,0.2,0.10"],
        [f"{RATE}=.5,5e-1"],
        ["representation.optimizer.nesterov=True,true"],
        ["representation.optimizer.nesterov=0,False"],
        ["data.mean=(0.3,),(0.30,)"],
        ["data.mean=(0.3,),[0.3]"],
        ["representation.optimizer.weight_decay=0.0,-0.0"],
        ["classifier.init_from=runs/a,runs/a/"],
        ["classifier.init_from=runs/a,./runs/a"],
    ],
)
def test_equal_points_are_one_however_they_are_written(monkeypatch, grid):
    monkeypatch.setattr(sweep, "run", None)
    arguments = [f"--config={CONFIG}", "--workdir=runs/s", "--run", *(f"--grid={axis}" for axis in grid)]
    with pytest.raises(
        SystemExit, match=r"^error: --grid: .* (are one point, written twice; leave one out|once)$|write 0\.0$"
    ):
        sweep.main(arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grid=seed=1,,2"], "--grid=seed=1,,2: a value is empty; write one on both sides of every comma"),
        (["--grid=seed=,1"], "--grid=seed=,1: a value is empty"),
        (["--grid=seed=1,"], "--grid=seed=1,: a value is empty"),
        (["--grid=seed= "], "write --grid=KEY=VALUE,VALUE"),
        (["--grid=,"], "write --grid=KEY=VALUE,VALUE"),
        (["--grid==1"], "write --grid=KEY=VALUE,VALUE"),
        (["--grid=seed=0,1", "--config.seed=5"], "--config.seed=5: seed is an axis of the grid; give its values there"),
        (["--grid=data.flip=True", "--noconfig.data.flip"], "data.flip is an axis of the grid"),
        (["--grid=data.mean=(0.1"], "--grid: '(0.1' lacks a )"),
        (["--grid=data.path='a"], "lacks a '"),
        (["--grid=seed=0,1", "--grid=nosuch.key=1"], "config.nosuch.key does not exist"),
        (["--grid=seed=0", f"--grid={RATE}=0.1,-1"], "learning_rate"),
        (["--grid=seed=0,1", "--grid=model.name=resnet32,resnet9000"], "config.model.name is 'resnet9000'"),
        ([f"--grid=seed=0,{'9' * 5000}"], "would have too long a name"),
        ([f"--grid={'k' * 5000}=1"], "would have too long a name"),
        ([f"--grid={'k' * 5000}"], "kkk: write --grid"),
        ([f"--grid=seed={','.join('0' * 200)}", f"--grid={RATE}={','.join('1' * 200)}"], "--grid: 40,000 points are"),
    ],
)
def test_a_grid_that_is_wrong_is_refused_in_one_short_line_before_anything_runs(monkeypatch, arguments, message):
    monkeypatch.setattr(sweep, "run", None)
    with pytest.raises(SystemExit) as told:
        sweep.main([f"--config={CONFIG}", "--workdir=runs/s", "--run", *arguments])
    assert str(told.value).startswith("error: ")
    assert message in str(told.value)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 700


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1, 2", ["1", "2"]),
        ("((0.1,0.2),(0.3,)),x", ["((0.1,0.2),(0.3,))", "x"]),
        ("{'a': (1,2)},[1,[2,3]]", ["{'a': (1,2)}", "[1,[2,3]]"]),
        ("')',\"(\"", ["')'", '"("']),
    ],
)
def test_values_nest(text, expected):
    assert sweep.values(text) == expected


@pytest.mark.parametrize("name", ["run[1]", "a*b", "what?", "[!x]", "**"])
def test_a_workdir_is_a_name_and_no_pattern(tmp_path, name):
    """Of several seeds an older result says nothing, of one it does: `seed_*` is looked for in that folder itself."""
    folder = tmp_path / name
    folder.mkdir()
    assert not sweep._finished(str(folder), None)
    (folder / "result.json").touch()
    before = sweep._written(str(folder))
    assert sweep._finished(str(folder), before)
    (folder / "seed_0").mkdir()
    assert not sweep._finished(str(folder), before)
    assert sweep._finished(str(folder), None)
