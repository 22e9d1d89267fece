"""The keys transforms, mix and eval.views: what is refused, what they train, and that they change no other run."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from tiny import digits, override

from gcl_jax import command_line, config
from gcl_jax.config import stage_fingerprint, validation
from gcl_jax.config.transforms import build_transforms
from gcl_jax.errors import UserError
from gcl_jax.training import experiment
from gcl_jax.transforms import Pipeline, StageTransforms, pipeline

pytestmark = pytest.mark.usefixtures("quick_compilation")


def made(method="cross_entropy", data=None, **stage):
    stages = {"s": config.stage(config.method(method), config.sampler("instance"), **stage)}
    return config.experiment(stages=stages, **(data or {}))


def built(made):
    validation.validate(made)
    return build_transforms(made, "s", config.build_method(made.s.method.to_dict()))


def test_named_streams_have_their_pipelines_and_others_the_default():
    found = built(made("hybrid_sc", transforms={"main": ("crop(2)", "flip|blur")}, head="projection"))
    assert found.streams["main"] == (pipeline("crop(2)"), pipeline("flip|blur"))
    assert found.streams["balanced"] == (pipeline("crop(4)|flip|grayscale(0.2)"),)


def test_a_pipeline_on_the_command_line():
    """Every stream of the method has an entry that can be overridden; none is the default."""
    argv = ["train", "--config=configs/digits_lt.py:gcl"]
    plain = command_line.config_of(argv)
    changed = command_line.config_of([*argv, "--config.representation.transforms.main=('crop(2)|cutout(3)',)"])
    validation.validate(changed)
    assert tuple(plain.representation.transforms.main) == ()
    assert tuple(changed.representation.transforms.main) == ("crop(2)|cutout(3)",)
    with pytest.raises(UserError, match=r"transforms\.mian does not exist; the nearest is .*transforms\.main"):
        command_line.config_of([*argv, "--config.representation.transforms.mian=('flip',)"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transforms": {"other": ("flip",)}}, r"a stream in config\.s\.transforms is 'other'; choose one of main"),
        ({"transforms": {"main": ("flip", "flip")}}, r"config\.s\.transforms\.main has 2 pipelines; .* stream, 1$"),
        ({"transforms": {"main": ("flop",)}}, r"config\.s\.transforms\.main\[0\]: a transform is 'flop' \(did you"),
        ({"transforms": {"main": "flip"}}, r"config\.s\.transforms\.main is 'flip'; it must be a tuple of texts"),
        ({"transforms": {"foreground": ("flip",)}}, r"is 'foreground'; choose one of main$"),
        ({"mix": "cutmox"}, r"config\.s\.mix: a mix is 'cutmox' \(did you mean 'cutmix'\?\)"),
        ({"mix": "mixup(0)"}, r"config\.s\.mix: mixup: alpha is 0; it must lie in"),
        ({"mix": "mixup", "method": config.method("oltr")}, "but oltr takes no mixed labels: leave it empty"),
        ({"mix": "mixup", "method": config.method("cross_entropy", mixup_alpha=1.0)}, "mixup_alpha mixes already"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    wrong = made()
    for key, value in changes.items():
        wrong.s[key] = ConfigDict(value) if isinstance(value, dict) else value
    if "method" in changes:
        head = config.stage(changes["method"], config.sampler("instance"))["head"]
        wrong = made(changes["method"]["name"], head=head)
        wrong.s.method, wrong.s.mix = ConfigDict(changes["method"]), changes["mix"]
    with pytest.raises(UserError, match=message):
        validation.validate(wrong)


def test_views_of_evaluation_are_checked():
    wrong = made()
    wrong.eval.views = ("flip(1.0)", "flop")
    with pytest.raises(UserError, match=r"config\.eval\.views\[1\]: a transform is 'flop'"):
        validation.validate(wrong)


def test_a_foreground_has_the_main_streams_pipeline():
    assert built(made(mix="cmo()")).streams["foreground"] == (pipeline("crop(4)|flip"),)
    own = built(made(mix="cmo()", transforms={"main": ("flip",), "foreground": ("crop(1)",)}))
    assert own.streams == {"main": (pipeline("flip"),), "foreground": (pipeline("crop(1)"),)}


def key_of(found):
    return stage_fingerprint.stage_key(stage_fingerprint.training_keys(found, "s"), "data")


def test_only_what_is_named_is_part_of_the_identity():
    empty = made()
    empty.s.transforms = ConfigDict({})
    assert key_of(empty) == key_of(made()) == key_of(made(transforms={"main": ()}))
    others = [made(transforms={"main": ("flip",)}), made(transforms={"main": ("flip|flip",)}), made(mix="mixup")]
    assert len({key_of(found) for found in [made(), *others]}) == 4
    views = made()
    views.eval.views = ("flip(1.0)",)
    assert key_of(views) == key_of(made())  # nothing else is trained


def test_views_of_several_sizes_are_refused():
    found = StageTransforms((0.0,), (1.0,), {"main": (pipeline("flip"), pipeline("center_crop(4)"))})
    with pytest.raises(UserError, match="the views of main are of several sizes, 8 x 8, 4 x 4: give all one size"):
        found.train("main", jax.random.key(0), jnp.zeros((2, 8, 8, 1), jnp.uint8), None)


def test_evaluation_has_one_view_or_several():
    x = jnp.asarray(np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8))
    one = StageTransforms((0.5,), (0.25,))
    two = StageTransforms((0.5,), (0.25,), views=(Pipeline(), pipeline("flip(1.0)")))
    np.testing.assert_allclose(one.evaluate(x), (x / 255 - 0.5) / 0.25, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(two.evaluate(x), jnp.stack([one.evaluate(x), one.evaluate(x)[:, :, ::-1]]))
    np.testing.assert_array_equal(two.first_view(x), one.evaluate(x))


TRAINED = {
    "pipeline": {"transforms.main": ("crop(1)|timm_randaugment(1)|cutout(2)",)},
    "cutmix": {"mix": "cutmix(1.0)"},
    "cmo": {"mix": "cmo(start=-1, end=0)"},
}


def training_losses(folder, changes):
    """What a short run on digits, whose images have one channel, logs of its loss."""
    found = digits(representation__epochs=1, representation__method__mixup_alpha=0.0)
    found.stages = ("representation",)
    experiment.run(override(found, changes), folder)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "train"], [
        line for line in lines if line["kind"] == "test"
    ]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return training_losses(tmp_path_factory.mktemp("plain") / "run", {})


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "cmo" else name for name in TRAINED]
)
def test_a_stage_trains_with_it(name, plain, tmp_path):
    changes = {f"representation.{key}": value for key, value in TRAINED[name].items()}
    first, again = (training_losses(tmp_path / str(i), changes)[0] for i in range(2))
    assert first == again  # draws are those of the seed
    assert len(first) == len(plain[0])
    assert np.isfinite(first).all()
    assert set(first).isdisjoint(plain[0])


def test_views_of_evaluation_change_the_test_alone(plain, tmp_path):
    losses, tests = training_losses(tmp_path / "run", {"eval.views": ("", "flip(1.0)")})
    assert losses == plain[0]
    assert [line["nll"] for line in tests] != [line["nll"] for line in plain[1]]
