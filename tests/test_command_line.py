"""The command line: what is wrong is said in one line that names it, before any work."""

import pytest
from absl import flags
from conftest import ROOT
from ml_collections import config_flags

from gcl_jax import command_line, config, methods
from gcl_jax.config import stage_fingerprint, validation
from gcl_jax.errors import UserError

DIGITS = f"--config={ROOT}/configs/digits_lt.py:gcl"


def parse(monkeypatch, *arguments):
    argv = ["main", *arguments]
    monkeypatch.setattr("sys.argv", argv)
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    flags.DEFINE_string("workdir", None, "", flag_values=values)
    command_line.parse(argv, values)
    validation.validate(values.config)
    return values


BAD = [
    (["--config.representation.epoch=3"], r"^config\.representation\.epoch does not exist; the nearest is config\.representation\.epochs$"),
    (["--config.represntation.epochs=3"], r"^config\.represntation\.epochs does not exist; the nearest is config\.representation$"),
    (["--config.representation.method.noise=1"], r"nearest is config\.representation\.method\.(noise_multiplier|name)$"),
    (["--config.representation.epochs=abc"], r"^config\.representation\.epochs is 'abc'; it must be of type int, such as 60$"),
    (["--config.representation.epochs=0.5"], r"^config\.representation\.epochs is '0\.5'; it must be of type int"),
    (["--config.data.flip=maybe"], r"^config\.data\.flip is 'maybe'; it must be of type bool, such as False$"),
    (["--config.representation.method=ce"], r"^config\.representation\.method is a block of keys; set them one by one: "),
    (["--config.seed.x=1"], r"^config\.seed\.x: config\.seed is a value, not a block$"),
    (["--config.representation.epochs=-1"], r"^config\.representation\.epochs is -1; it must lie in \[0, 1000000\]$"),
    (["--config.representation.batch_size=-2"], r"^config\.representation\.batch_size is -2; it must lie in \[1, 1000000\]$"),
    (["--config.representation.method.cloud_size=lgo"], r"^config\.representation\.method\.cloud_size is 'lgo' \(did you mean 'log'\?\)"),
    (["--config.representation.method.name=gdl"], r"^config\.representation\.method\.name is 'gdl' \(did you mean 'gcl'\?\)"),
    (["--config.representation.method.name=cross_entropy"], r"^config\.representation\.method has no key "),
    (["--config.classifier.method.scale=0.0"], r"^config\.classifier\.method\.scale is 0\.0; it must lie in \[1e-6, 1e4\]$"),
    (["--config.classifier.head=linear"], r"^config\.classifier\.head is 'linear'.*choose one of cosine, cosine_lws$"),
    (["--config.classifier.sampler.a=1.5"], r"^config\.classifier\.sampler\.a is 1\.5"),
    (["--config.classifier.bn=frozn"], r"^config\.classifier\.bn is 'frozn' \(did you mean 'frozen'\?\); choose one of"),
    (["--config.classifier.optimizer.learning_rate=-1.0"], r"^config\.classifier\.optimizer\.learning_rate is -1\.0; it must lie in \[1e-12, 1000\]$"),
    (["--config.classifier.optimizer.learning_rate=nan"], r"^config\.classifier\.optimizer\.learning_rate is nan; give a finite"),
    (["--config.classifier.optimizer.schedule=cos"], r"^config\.classifier\.optimizer\.schedule is 'cos'"),
    (["--config.representation.optimizer.boundaries_percent=(50.0,)"], r"^config\.representation\.optimizer\.boundaries_percent has 1 entries"),
    (["--config.representation.optimizer.boundaries_percent=(90.0, 80.0)"], r"^config\.representation\.optimizer\.boundaries_percent is \(90\.0, 80\.0\); it must rise"),
    (["--config.stages=('representatio',)"], r"^a name in config\.stages is 'representatio' \(did you mean 'representation'\?\)"),
    (["--config.stages=()"], r"^config\.stages is empty"),
    (["--config.precision=fp16"], r"^config\.precision is 'fp16'"),
    (["--config.data.imbalance_ratio=0.5"], r"^config\.data\.imbalance_ratio is 0\.5; it must lie in \[1, 1e9\]$"),
    (["--config.data.validation_fraction=1.0"], r"^config\.data\.validation_fraction is 1\.0; it must lie in"),
    (["--config.posthoc.alpha=1.0"], r"^config\.posthoc\.alpha is set, but no stage's method has it"),
    (["--config.representation.optimizer.warmup_start=2.0"], r"^config\.representation\.optimizer\.warmup_start is 2\.0; it must lie in"),
    (["--config.num_seeds=0"], r"^config\.num_seeds is 0; it must lie in \[1, 10000\]$"),
    (["--config.seed=4294967296"], r"^config\.seed is 4294967296; it must lie in \[0, 4294967295\]$"),
    (["--config.num_seeds=2", "--config.seed=4294967295"], r"^config\.seed is 4294967295; with config\.num_seeds"),
    (["--wrkdir=x"], r"^Unknown command line flag 'wrkdir'. Did you mean: workdir"),
    (["-config.sed=3"], r"^config\.sed does not exist; the nearest is config\.seed$"),
    (["--config.data.std=('a', 'b', 'c')"], r"^an entry of config\.data\.std is 'a'; it must be a float$"),
    (["--config.representation.optimizer.decay_factors=('a', 'b')"], r"^an entry of config\.representation\.optimizer\.decay_factors is 'a'"),
    (["--config.data.subset_seed=5000000000"], r"^config\.data\.subset_seed is 5000000000; it must lie in \[0, 4294967295\]$"),
    (["--config.posthoc.logit_adjustment=1e39"], r"^config\.posthoc\.logit_adjustment is 1e\+39; it must lie in \[0, 100\]$"),
    (["--config.data.imbalance_ratio=inf"], r"^config\.data\.imbalance_ratio is inf; give a finite number$"),
    (["--config.model.name=resnet_32"], r"^config\.model\.name is 'resnet_32' \(did you mean 'resnet32'\?\)"),
    (["--config.data.source=tdfs"], r"^config\.data\.source is 'tdfs' \(did you mean 'tfds'\?\)"),
    (["--config.classifier.sampler.name=class_balanced"], r"sampler has no key 'a' \(the keys of 'class_balanced' are laid down where the config file"),
    (["--config.data.photos.on_bad_image=skp"], r"^config\.data\.photos\.on_bad_image is 'skp' \(did you mean 'skip'\?\)"),
    (["--config.data.photos.allow_outside=perhaps"], r"^config\.data\.photos\.allow_outside is 'perhaps'; it must be of type bool, such as False$"),
    (["--config.data.photos.size=0"], r"^config\.data\.photos\.size is 0; it must lie in \[1, 8192\]$"),
    (["--config.data.photos.resize=200"], r"^config\.data\.photos\.resize is 200; it must be at least config\.data\.photos\.size, 224$"),
    (["--config.data.photos.color_jitter=(0.4, 0.4)"], r"^config\.data\.photos\.color_jitter is \(0\.4, 0\.4\); it must be three numbers"),
    (["--config.data.photos.color_jitter=(0.4, -0.4, 0.0)"], r"^an entry of config\.data\.photos\.color_jitter is -0\.4; it must lie in \[0, 100\]$"),
    (["--config.data.source=list"], r"^config\.data\.path is empty: data\.source='list' needs --config\.data\.path=DIR$"),
    (["--config.data.source=folder"], r"^config\.data\.path is empty: data\.source='folder' needs"),
    (["--config.data.source=list", "--config.data.path=x"], r"^config\.data\.photos\.train_list is empty: .* needs --config\.data\.photos\.train_list=FILE$"),
    (["--config.data.source=list", "--config.data.path=x", "--config.data.photos.train_list=x"], r"^config\.data\.photos\.test_list is empty"),
    (["--config.data.profile=counts"], r"^config\.data\.photos\.counts is empty: data\.profile='counts' needs --config\.data\.photos\.counts=FILE\.json$"),
    (["--config.data.profile=pareta"], r"^config\.data\.profile is 'pareta' \(did you mean 'pareto'\?\); choose one of exponential, step, pareto, counts, none$"),
    (["extra"], r"^'extra' is no flag"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=lambda value: value[0] if isinstance(value, list) else "")
def test_a_wrong_argument_is_named(monkeypatch, arguments, message):
    with pytest.raises(UserError, match=message) as error:
        parse(monkeypatch, DIGITS, *arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("row", "argument", "message"),
    [
        ("tde", "representation.epochs=0", r"representation\.epochs is 0; it must be at least 1 for tde$"),
        ("ce", "representation.epochs=-1", r"representation\.epochs is -1; it must lie in \[0, 1000000\]$"),
        (
            "tau_norm",
            "tau_norm.restore=backbone/",
            r"tau_norm\.restore is 'backbone/', but tau_norm goes on from the classifier",
        ),
        (
            "nearest_class_mean",
            "nearest_class_mean.head=linear",
            r"nearest_class_mean\.head is 'linear'; choose one of nearest_mean_cl2n",
        ),
        (
            "mislas",
            "classifier.method.smoothing_head=1.5",
            r"classifier\.method\.smoothing_head is 1\.5; it must lie in",
        ),
        (
            "mislas",
            "classifier.method.smoothing_tail=-0.1",
            r"classifier\.method\.smoothing_tail is -0\.1; it must lie in",
        ),
        ("mislas", "classifier.method.smoothing_shape=concav", r"smoothing_shape is 'concav' .did you mean 'concave'"),
    ],
)
def test_what_a_method_cannot_be_is_named(monkeypatch, row, argument, message):
    with pytest.raises(UserError, match=message):
        parse(monkeypatch, f"--config={ROOT}/configs/digits_lt.py:{row}", f"--config.{argument}")


def test_a_rule_after_training_that_the_config_has_not_is_named(monkeypatch):
    """Of a method from outside, and of no other: what does not use it stays valid."""

    class Outside(methods.CrossEntropy):
        posthoc = frozenset({"beta"})

    monkeypatch.setitem(methods.METHODS, "outside", Outside)
    config = parse(monkeypatch, f"--config={ROOT}/configs/digits_lt.py:ce").config
    config.representation.method.name = "outside"
    with pytest.raises(
        UserError, match=r"representation\.method\.name is 'outside', whose beta .*no config\.posthoc\.beta"
    ):
        validation.validate(config)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            "grid=(0.5,-0.5)",
            r"^config\.tuning\.grid: config\.tau_norm\.method\.tau is -0\.5; it must lie in \[0, 10\]$",
        ),
        ("grid=()", r"^config\.tuning\.grid is empty"),
        (
            "key=tau_norm.head",
            r"^config\.tuning\.key is 'tau_norm\.head', which is 'linear'; it must be a real",
        ),
        ("key=tau_norm.epochs", r"^config\.tuning\.key is 'tau_norm\.epochs', which is 0; it must be a real"),
        ("key=tau_norm.method", r"^config\.tuning\.key is 'tau_norm\.method', which is a block; it must be a real"),
        ("key=tau_norm", r"^config\.tuning\.key is 'tau_norm', which is a block; it must be a real"),
    ],
)
def test_what_cannot_be_tuned_is_named_before_anything_trains(monkeypatch, argument, message):
    with pytest.raises(UserError, match=message):
        parse(monkeypatch, "--config=configs/digits_lt.py:tau_norm", f"--config.tuning.{argument}")


def test_good_arguments_reach_the_config(monkeypatch):
    values = parse(
        monkeypatch, f"{DIGITS},50", "--config.representation.optimizer.learning_rate=1", "--config.data.flip",
        "--config.classifier.epochs", "3",
    )  # fmt: skip
    found = values.config
    assert found.representation.optimizer.learning_rate == 1.0
    assert found.data.imbalance_ratio == 50.0
    assert found.data.flip is True
    assert found.classifier.epochs == 3
    assert sorted(command_line.overrides(values)) == [
        "--config.classifier.epochs=3", "--config.data.flip=True", "--config.representation.optimizer.learning_rate=1.0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_like_this", "cannot be loaded: .*No module named 'nothing_like_this'"),
        ("def get_config(): return {}", r"get_config\(\) must return a ConfigDict, not dict"),
        ("from gcl_jax import config as c\ndef get_config(): return c.method('gcl', skale=3)", "has no key 'skale'"),
        (
            "from gcl_jax import config as c\ndef get_config(): return c.experiment(stages={}, sed=1)",
            r"config has no key 'sed' \(did you mean 'seed'\?\)",
        ),
    ],
)
def test_a_broken_config_file_is_named(monkeypatch, tmp_path, text, message):
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        parse(monkeypatch, f"--config={file}")
    assert "mine.py" in str(error.value)


OF_ITS_OWN = """
import dataclasses
from gcl_jax import config as c, methods

@dataclasses.dataclass(frozen=True)
class Mine(methods.CrossEntropy):
    pass

methods.register({name!r}, Mine)

def get_config():
    return c.experiment(stages=dict(s=c.stage(c.method({name!r}), c.sampler("instance"))))
"""


def test_a_config_file_can_register_a_method_of_its_own(monkeypatch, tmp_path, request):
    """The file is executed at least twice, once before the overrides."""
    file = tmp_path / "mine.py"
    request.addfinalizer(lambda: methods.METHODS.pop("mine", None))
    file.write_text(OF_ITS_OWN.format(name="mine"))
    assert parse(monkeypatch, f"--config={file}", "--config.s.epochs=3").config.s.method.name == "mine"
    file.write_text(OF_ITS_OWN.format(name="gcl"))
    with pytest.raises(UserError, match=r"the method 'gcl' is registered already: choose another name"):
        parse(monkeypatch, f"--config={file}")


def test_a_key_that_a_config_file_adds_by_hand_is_refused():
    made = config.experiment(stages={"s": config.stage(config.method("gcl"), config.sampler("instance"))})
    made.s.optimizer.learning_rte = 0.2
    with pytest.raises(
        UserError, match=r"config\.s\.optimizer has no key 'learning_rte' \(did you mean 'learning_rate'"
    ):
        validation.validate(made)


def test_missing_config_and_missing_file(monkeypatch):
    with pytest.raises(UserError, match="--config is missing"):
        parse(monkeypatch, "--workdir=x")
    with pytest.raises(UserError, match=r"there is no file configs/nope\.py"):
        parse(monkeypatch, "--config=configs/nope.py:100")


def test_stage_identity_ignores_what_does_not_train():
    def key(**values):
        made = config.experiment(stages={"s": config.stage(config.method("gcl"), config.sampler("instance"))}, **values)
        return stage_fingerprint.stage_key(stage_fingerprint.training_keys(made, "s"), "data")

    same = [{"log": {"every_steps": 7}}, {"eval": {"batch_size": 3}}, {"posthoc": {"logit_adjustment": 1.0}},
            {"data": {"path": "/elsewhere"}}, {"data": {"loader": "host"}}, {"checkpoint": {"keep": 9}},
            {"data": {"photos": {"size": 64}}}]  # fmt: skip
    assert {key(**values) for values in same} == {key()}
    other = [{"seed": 1}, {"precision": "bf16"}, {"model": {"name": "resnet20"}}, {"data": {"imbalance_ratio": 10.0}}]
    assert len({key(), *(key(**values) for values in other)}) == 5


def test_photographs_are_known_by_their_size_and_not_by_where_their_lists_lie():
    def keys(**photos):
        stages = {"s": config.stage(config.method("gcl"), config.sampler("instance"))}
        return stage_fingerprint.training_keys(
            config.experiment(stages=stages, data={"source": "list", "photos": photos}), "s"
        )

    assert keys(train_list="a.txt", test_list="b.txt", validation_list="c.txt", counts="d.json") == keys()
    assert keys(on_bad_image="skip", allow_outside=True) == keys()
    assert keys(size=64) != keys()
    assert keys(color_jitter=(0.4, 0.4, 0.4)) != keys()
