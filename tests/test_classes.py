"""Classes are compared by name wherever a network meets data, and columns are never taken by number alone."""

import numpy as np
import pytest
from ml_collections import ConfigDict
from tiny import digits, override

from gcl_jax import config as config_lib
from gcl_jax import data
from gcl_jax.checkpoints import class_check, integrity, warm_start
from gcl_jax.errors import UserError
from gcl_jax.report import embedding
from gcl_jax.runtime import mesh
from gcl_jax.training import starts
from gcl_jax.training.stage import Stage

ABCD = ("a", "b", "c", "d")
OTHERS = {  # what is told of data with these classes, for a network with ABCD
    ("d", "c", "b", "a"): r"class 0 is 'a' there and 'd' here \(the same 4 classes in another order\)",
    ("a", "c", "b", "d"): r"class 1 is 'b' there and 'c' here \(the same 4 classes in another order\)",
    ("a", "b", "c", "e"): r"class 3 is 'd' there and 'e' here",
    ("w", "x", "y", "z"): r"class 0 is 'a' there and 'w' here",
    ("A", "b", "c", "d"): r"class 0 is 'a' there and 'A' here",
    ("a", "b", "c"): r"4 classes there and 3 here, of which 'd' is only there",
    ("a", "b", "c", "d", "e"): r"4 classes there and 5 here, of which 'e' is only here",
    ("e", "a", "b", "c", "d"): r"4 classes there and 5 here, of which 'e' is only here",
    ("0", "1", "2"): r"4 classes there and 3 here",
}
SAME = [ABCD, list(ABCD), ("0", "1", "2", "3")]


SMALL = {"data.source": "arrays", "data.profile": "none", "classifier.batch_size": 4, "model.name": "resnet8"}


def stage(names, method, **kwargs):
    """A stage of ``method`` on small images of the classes ``names``."""
    config = override(digits(), SMALL)
    own = config_lib.stage(config_lib.method(method), config_lib.sampler("instance"), **kwargs)
    config.classifier.method = ConfigDict(own["method"])
    config.classifier.update({key: own[key] for key in ("head", "trainable", "restore")})
    labels = np.arange(2 * len(names), dtype=np.int32) % len(names)
    split = data.Split(np.zeros((len(labels), 8, 8, 1), np.uint8), labels)
    dataset = data.Dataset("own", {"train": split, "test": split}, tuple(names), np.arange(len(labels)))
    grid = mesh.make_mesh()
    return Stage(config, "classifier", dataset, data.make_loader("device", dataset, grid), grid)


@pytest.fixture(scope="module")
def network():
    """The variables of a network with the classes ABCD."""
    return stage(ABCD, "cross_entropy")._fresh() | {"class_names": ABCD}


@pytest.mark.parametrize(("names", "told"), OTHERS.items(), ids=str)
def test_other_classes_are_told_by_the_first_difference(names, told):
    with pytest.raises(UserError, match=rf"^RUN has other classes than the data: {told}\. Cure"):
        class_check.require_same(ABCD, names, "RUN", "Cure")


@pytest.mark.parametrize("names", SAME, ids=str)
def test_the_same_classes_are_the_same(names):
    assert not class_check.difference(ABCD, names)
    assert not class_check.difference(names, ABCD)
    assert not class_check.difference(None, names)


def test_a_name_that_another_system_writes_otherwise_is_the_same():
    assert not class_check.difference(("ha\u0308user", "b"), ("h\u00e4user", "b"))


@pytest.mark.parametrize(
    ("theirs", "ours", "told"),
    [
        (None, ABCD, "does not name its classes"),
        (("0", "1", "2", "3"), ABCD, "has its classes by number only"),
        (ABCD, ("0", "1", "2", "3"), "names its classes, the data number theirs"),
        (ABCD, ABCD, ""),
        (None, ("0", "1"), ""),
        (("0", "1"), ("0", "1"), ""),
    ],
)
def test_what_cannot_be_compared_is_said(theirs, ours, told):
    assert class_check.unknown(theirs, ours) == told


@pytest.mark.parametrize("method", ["cross_entropy", "lws", "crt"])
def test_a_head_that_is_taken_over_needs_the_same_classes(network, method, capsys):
    """For each of the ways in which a stage takes one: to go on, to scale, and one that is told to keep it."""
    kwargs = {
        "cross_entropy": {},
        "lws": dict(head="linear_lws", trainable="head/scale"),
        "crt": dict(trainable="head/"),
    }[method]
    for names in (("d", "c", "b", "a"), ("a", "b", "c", "e"), ("a", "b", "c"), (*ABCD, "e")):
        one = stage(names, "cross_entropy", **kwargs)
        one._init = lambda key, one=one: one._fresh()  # nothing is compiled
        for take in (one.check_start, lambda found, origin, one=one: one.restore_variables(0, found, origin)):
            with pytest.raises(UserError, match="RUN has other classes than the data") as error:
                take(network, "RUN")
            assert ("restore=backbone/" in str(error.value)) == (method != "lws")
    stage(ABCD, "cross_entropy", **kwargs).check_start(network, "RUN")
    assert not capsys.readouterr().out
    stage(("0", "1", "2", "3"), "cross_entropy", **kwargs).check_start(network, "RUN")
    said = capsys.readouterr().out
    assert "note: RUN names its classes, the data number theirs: they are taken to be the same" in said


def test_a_backbone_alone_goes_with_any_classes(network, capsys):
    for names in (("d", "c", "b", "a"), ("x", "y"), tuple("abcdefgh")):
        for method, kwargs in (("cross_entropy", {"restore": "backbone/"}), ("nearest_class_mean", {})):
            one = stage(names, method, **kwargs)
            one._init = lambda key, one=one: one._fresh()
            one.check_start(network, "RUN")
            one.restore_variables(0, network, "RUN")
    assert not capsys.readouterr().out


def test_a_whole_network_is_evaluated_on_its_own_classes(network):
    told = r"RUN has other classes .* Give the data the classes that it was trained on"
    for names in (("d", "c", "b", "a"), ("a", "b", "c", "e"), ("a", "b", "c")):
        with pytest.raises(UserError, match=told):
            stage(names, "cross_entropy", restore="backbone/").checked(network, "RUN")
    stage(ABCD, "cross_entropy").checked(network, "RUN")
    stage(ABCD, "cross_entropy").checked({k: v for k, v in network.items() if k != "class_names"}, "RUN")


def test_what_a_checkpoint_was_trained_on_is_read_with_it(monkeypatch, tmp_path):
    found = {"params": {}, "batch_stats": {}, "method_state": {}}
    for note, named in (({"class_names": list(ABCD)}, {"class_names": ABCD}), ({}, {})):
        monkeypatch.setattr(warm_start.checkpoint, "read_variables", lambda *_, n=note: (dict(found), n, 3))
        assert warm_start.read(tmp_path) == (found | named, 3)
        assert warm_start.arrays(warm_start.read(tmp_path)[0]) == found


def test_one_picture_is_of_runs_with_one_legend():
    def one(names, fingerprint):
        labels = np.arange(4)
        return embedding.Embedding(np.eye(4), labels, np.ones(4, int), names, {}, fingerprint)

    embedding.require_one_data_set([("x", one(ABCD, "1")), ("y", one(ABCD, "1"))])
    for names, fingerprint in ((ABCD, "2"), (("d", "c", "b", "a"), "1")):
        with pytest.raises(UserError, match="x and y are of other data"):
            embedding.require_one_data_set([("x", one(ABCD, "1")), ("y", one(names, fingerprint))])


@pytest.fixture
def finished_start(tmp_path):
    """A folder that looks like a finished stage, without its arrays."""
    (tmp_path / "start" / "representation" / "checkpoints" / "3").mkdir(parents=True)
    (tmp_path / "start" / "representation" / "DONE.json").write_text("{}")
    return tmp_path / "start"


def test_a_bad_start_is_told_before_data_are_read(tmp_path, finished_start, monkeypatch, network):
    """The data here would be refused, too: they are not looked at."""
    from gcl_jax.training import experiment

    base = SMALL | {"data.path": "nowhere.npz"}

    def refused(values, match):
        with pytest.raises(UserError, match=match):
            experiment.run(override(digits(), base | values), tmp_path / "run")

    for seeds in (1, 2):
        refused({"classifier.init_from": str(tmp_path / "none"), "num_seeds": seeds}, r"init_from: there is no .*none")
    refused({"representation.init_from": str(tmp_path)}, "holds no checkpoints; name the folder of one stage")
    (tmp_path / "w.txt").write_text("")
    refused({"representation.init_from": str(tmp_path / "w.txt")}, r"w\.txt is none of \.npz")
    refused({"stages": ("classifier",)}, r"nothing to start from: set --config\.classifier\.init_from=DIR")
    refused({"stages": ("representation",), "representation.bn": "stats_only"}, "keeps parameters frozen")

    damaged = integrity.Damaged(finished_start / "representation" / "checkpoints" / "3", "for a test")
    not_finite = stage(ABCD, "cross_entropy")._fresh()
    not_finite["params"]["backbone"]["conv1"]["kernel"][:] = np.nan
    for found, match in (
        (None, r"checkpoint .* is damaged \(for a test\)"),
        ({**network, "params": {"backbone": {}, "head": {}}}, "it is of another model or head"),
        (not_finite, "holds numbers that are not finite"),
    ):

        def read(*_, found=found):
            if found is None:
                raise damaged
            return found, {}, 3

        monkeypatch.setattr(warm_start.checkpoint, "read_variables", read)
        refused({"classifier.init_from": str(finished_start)}, match)
    assert not (tmp_path / "run").exists()


def test_what_was_looked_at_takes_no_memory(finished_start, monkeypatch):
    fresh = stage(ABCD, "cross_entropy")._fresh()
    for leaf in warm_start.traverse_util.flatten_dict(fresh).values():
        leaf[:] = 1
    monkeypatch.setattr(warm_start.checkpoint, "read_variables", lambda *_: (fresh, {"class_names": ABCD}, 3))
    config = override(digits(), SMALL | {"classifier.init_from": str(finished_start)})
    ((start, found),) = starts.load_starts(config, "classifier", [0, 1, 2]).items()
    assert start == str(finished_start)
    assert found["class_names"] == ABCD
    kernel = found["params"]["backbone"]["conv1"]["kernel"]
    assert kernel.shape == fresh["params"]["backbone"]["conv1"]["kernel"].shape
    assert not any(kernel.strides)
