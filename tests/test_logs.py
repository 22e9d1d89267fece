"""metrics.jsonl, JSON files and TensorBoard."""

import json

import pytest
from etils import epath

from gcl_jax import json_files, logs


def records(log, *lines):
    for stage, step in lines:
        log.write({"stage": stage, "step": step, "kind": "train"})


def test_cut_back_keeps_other_stages_and_earlier_steps(tmp_path):
    path = epath.Path(tmp_path) / "metrics.jsonl"
    log = logs.MetricsLog(path)
    log.cut_back("a", 0)  # nothing there yet
    records(log, ("a", 1), ("a", 2), ("b", 1), ("b", 2), ("b", 3))
    log.cut_back("b", 2)
    assert [(r["stage"], r["step"]) for r in map(json.loads, path.read_text().splitlines())] == [
        ("a", 1), ("a", 2), ("b", 1), ("b", 2),
    ]  # fmt: skip
    assert [r["step"] for r in log.read("b")] == [1, 2]


def test_cut_back_drops_an_unfinished_line(tmp_path):
    path = epath.Path(tmp_path) / "metrics.jsonl"
    log = logs.MetricsLog(path)
    records(log, ("a", 1))
    with path.open("a") as file:
        file.write('{"stage": "a", "st')
    log.cut_back("a", 5)
    assert path.read_text() == '{"stage": "a", "step": 1, "kind": "train"}\n'


def test_json_is_strict_and_replaced_whole(tmp_path):
    path = epath.Path(tmp_path) / "x.json"
    json_files.write(path, {"a": (1, 2)})
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_files.write(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": [1, 2]}


def test_tensorboard_gets_the_numbers(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = logs.TensorBoard(epath.Path(tmp_path), enabled=True)
    board.write(3, {"test/accuracy": 50.0, "test/few": None})
    board.close()
    events = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0})
    events.Reload()
    assert events.Tags()["tensors"] == ["test/accuracy"]
    assert [e.step for e in events.Tensors("test/accuracy")] == [3]
