"""Two runs that have to be one and the same, bit for bit."""

import json

import numpy as np

from gcl_jax.checkpoints import checkpoint


def assert_same_run(workdir, expected, stages=("representation", "classifier")):
    """Compare the last checkpoints, metrics.jsonl and the results of two finished runs."""
    for stage in stages:
        ours, _, step = checkpoint.read(workdir / stage / "checkpoints")
        theirs, _, expected_step = checkpoint.read(expected / stage / "checkpoints")
        assert step == expected_step
        assert ours.keys() == theirs.keys()
        assert any(name.startswith("opt_state") for name in ours)
        for name, array in theirs.items():
            np.testing.assert_array_equal(ours[name], array, err_msg=f"{stage} {name}")
    assert (workdir / "metrics.jsonl").read_bytes() == (expected / "metrics.jsonl").read_bytes()
    ours, theirs = (json.loads((w / "result.json").read_text()) for w in (workdir, expected))
    assert ours["final"] == theirs["final"]
    for stage in stages:
        for key in ("best", "skipped_steps"):
            assert ours["stages"][stage][key] == theirs["stages"][stage][key]
