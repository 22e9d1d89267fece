"""Every config file: it validates, says what was published, and each of its stages takes a step."""

import inspect
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT
from tiny import load_config, override

from gcl_jax import data, optim, recipes
from gcl_jax.config import validation
from gcl_jax.models import BACKBONES, Features
from gcl_jax.models.norm import BatchNorm
from gcl_jax.registry import option
from gcl_jax.runtime import mesh
from gcl_jax.table.specs import RATIOS, TABLES
from gcl_jax.training.stage import Stage

pytestmark = pytest.mark.usefixtures("quick_compilation")

BY_RATIO = ("cifar10_lt", "cifar100_lt", "digits_lt")  # the others take a folder
FILES = sorted(str(path.relative_to(ROOT / "configs")) for path in (ROOT / "configs").glob("*/*.py"))
ROWS = {}  # {(data set, config, overrides): what each table quotes for it}
for table in TABLES.values():
    for row in table.rows:
        for dataset in (*table.columns, *(("digits_lt",) if "cifar10_lt" in table.columns else ())):
            ROWS.setdefault((dataset, row.config, row.overrides), []).append(row.published.get(dataset, {}))


def test_every_row_of_every_table_has_a_config_file_and_every_file_a_row():
    assert {f"{dataset}/{config}.py" for dataset, config, _ in ROWS} == {
        file for file in FILES if not file.startswith(("folder/", "photos_lt/"))
    }


def test_every_recipe_has_a_file_for_each_data_set_that_needs_it():
    protocols = {"cifar_lt", "digits_lt", "photos_lt", "folder"}
    made = {n for n, f in vars(recipes).items() if inspect.isfunction(f)} - protocols
    for dataset in ("cifar10_lt", "digits_lt"):
        assert {file.split("/")[1] for file in FILES if file.startswith(dataset)} == {f"{name}.py" for name in made}


@pytest.mark.parametrize("file", FILES)
def test_the_docstring_says_how_to_run_it_and_what_was_published(file):
    text = (ROOT / "configs" / file).read_text()
    argument = "100" if file.startswith(BY_RATIO) else "DIR"
    assert f"--config=configs/{file}:{argument} " in text
    dataset, name = file.removesuffix(".py").split("/")
    quoted = [published for published in ROWS.get((dataset, name, ()), []) if published]
    for published in quoted:
        if 0 in published:
            assert f"Published top-1: {published[0]:.2f}." in text
        elif len(published) > 1:
            ratios = [ratio for ratio in RATIOS if ratio in published]
            told = " / ".join(map(str, ratios)) + ": " + " / ".join(f"{published[r]:g}" for r in ratios)
            assert f"ratio {told}" in text
        else:
            assert f"atio 100: {published[100]:g}" in text or f" / {published[100]:g} / " in text
    assert quoted or dataset == "folder" or "Nothing is published for these data" in text


@pytest.mark.parametrize("file", [file for file in FILES if not file.startswith(BY_RATIO)])
def test_the_argument_of_photographs_is_their_folder(file):
    config = load_config(file, "somewhere")
    validation.validate(config)
    assert config.data.path == "somewhere"
    assert config.data.loader == "host"
    for part in ("train", "test", "validation"):
        assert not config.data.photos[f"{part}_list"] or config.data.photos[f"{part}_list"].startswith("somewhere/")


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith(BY_RATIO)])
def test_every_ratio_is_a_valid_config_that_differs_in_its_data(file):
    found = [load_config(file, ratio) for ratio in ("200", "100", "50", "10")]
    for config, ratio in zip(found, (200.0, 100.0, 50.0, 10.0), strict=True):
        validation.validate(config)
        assert config.data.imbalance_ratio == ratio


def test_mislas_takes_its_settings_by_data_set_and_ratio():
    """Published: C10 (.3, 0, no shift, .5), (.2, 0, no, .2), (.1, 0, no, .2); C100 (.4, .1, shift, .2), ..."""

    def settings(file, ratio):
        stage = load_config(file, ratio).classifier
        (rule,) = optim.parse_rules(stage.optimizer.lr_mult, "lr_mult")
        return stage.method.smoothing_head, stage.method.smoothing_tail, stage.bn, rule[1]

    assert settings("cifar10_lt/mislas.py", "100") == (0.3, 0.0, "frozen", 0.5)
    assert settings("cifar10_lt/mislas.py", "50") == (0.2, 0.0, "frozen", 0.2)
    assert settings("cifar10_lt/mislas.py", "10") == (0.1, 0.0, "frozen", 0.2)
    assert settings("cifar100_lt/mislas.py", "200") == settings("cifar100_lt/mislas.py", "100")
    assert settings("cifar100_lt/mislas.py", "100") == (0.4, 0.1, "stats_only", 0.2)
    assert settings("cifar100_lt/mislas.py", "50") == (0.3, 0.0, "stats_only", 0.1)
    assert settings("cifar100_lt/mislas.py", "10") == (0.2, 0.0, "stats_only", 0.1)


class Tiny(nn.Module):
    """A backbone that compiles at once: what a config's method does to it is the same."""

    dtype: jnp.dtype = jnp.float32
    experts: int = option(1, "[1, 64]")

    @nn.compact
    def __call__(self, images, *, train, expert=None):
        chosen = range(self.experts) if expert is None else [expert]
        maps = []
        for place in chosen:
            x = nn.Dense(8, name=f"dense{place}")(images[:, :2, :2])
            maps.append(nn.relu(BatchNorm(name=f"bn{place}")(x, train=train)))
        x = jnp.concatenate(maps, axis=-1)
        return Features(pooled=x.mean(axis=(1, 2)), map=x)


class TinyWithBlock(nn.Module):
    """The same and a last block after it, of the name that Places-LT's recipe gives it."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images, *, train, bn_scope=""):
        x = Tiny(name="trunk")(images, train=train and not bn_scope)
        return Tiny(name="layer4_2")(x.map, train=train)


def noise(dataset):
    """A small long-tailed data set of the right form."""
    classes, shape = (100 if dataset == "cifar100_lt" else 10), ((8, 8, 1) if dataset == "digits_lt" else (32, 32, 3))
    labels = np.concatenate([np.full(3 if j < 5 else 1, j, np.int32) for j in range(classes)])
    images = np.random.default_rng(0).integers(0, 256, (len(labels), *shape), np.uint8)
    split = data.Split(images, labels)
    names = tuple(map(str, range(classes)))
    return data.Dataset("noise", {"train": split, "test": split}, names, np.arange(len(labels)))


def stages(dataset, config):
    grid = mesh.make_mesh(jax.devices()[:1])
    images = noise(dataset)
    loader = data.make_loader("device", images, grid)
    for name in config.stages:
        config[name].batch_size = 10
        yield Stage(config, name, images, loader, grid)


def configs(dataset, name, overrides):
    config = load_config(f"{dataset}/{name}.py", "100" if dataset in BY_RATIO else "somewhere")
    values = dict(text.removeprefix("--config.").split("=") for text in overrides)
    # As the command line does: numbers and tuples are Python, the rest is text.
    return override(config, {k: v if v.isalpha() else eval(v) for k, v in values.items()})


TRACED = {*(("cifar10_lt", name) for name in ("gcl", "bbn", "oltr", "hybrid_sc")), ("places_lt", "gcl")}


def rows():
    """Every listed row; to trace a network of the full size takes seconds, so that most of those are slow."""
    for dataset, name, overrides in ROWS:
        quick = dataset == "digits_lt" or (not overrides and (dataset, name) in TRACED)
        yield pytest.param(dataset, name, overrides, marks=[] if quick else [pytest.mark.slow])


@pytest.mark.parametrize(("dataset", "name", "overrides"), rows(), ids=lambda value: str(value)[:60])
def test_every_listed_config_builds_and_shapes_its_steps(dataset, name, overrides):
    for stage in stages(dataset, configs(dataset, name, overrides)):
        if stage.settings.epochs:
            state, constants = stage.shapes()
            block = next(stage.feed.blocks([0], 0, 0, [1]))
            after, _ = jax.eval_shape(stage.step, state, constants, block, np.int32(1))
            assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)


def distinct_stages():
    """Every listed config's stages, once for each program: data set, row and stage."""
    found = {}
    for dataset, name, overrides in ROWS:
        config, head = configs(dataset, name, overrides), ""
        for stage in config.stages:
            block = config[stage].to_dict()
            rules = [block[key] for key in ("head", "trainable", "restore")]
            own = json.dumps([block["method"], rules, block["bn"], block["epochs"] > 0, block["optimizer"]])
            # The other data sets' programs are CIFAR-10's with other shapes, other clouds GCL's with other constants.
            quick = dataset == "cifar10_lt" or (dataset, name) == ("places_lt", "gcl")
            marks = [] if quick and not any("cloud_size" in o for o in overrides) else [pytest.mark.slow]
            case = pytest.param(dataset, name, overrides, stage, marks=marks, id=f"{dataset}-{name}-{stage}")
            found.setdefault((dataset, head, own), case)
            head = block["head"]
    return list(found.values())


@pytest.mark.parametrize(("dataset", "name", "overrides", "last"), distinct_stages())
def test_every_stage_of_every_listed_config_takes_a_step(monkeypatch, dataset, name, overrides, last):
    """A real one, of a tiny network, from what the network of the stage before could have been."""
    monkeypatch.setitem(BACKBONES, "tiny", Tiny)
    monkeypatch.setitem(BACKBONES, "tiny_with_block", TinyWithBlock)
    config, found = configs(dataset, name, overrides), None
    config.model.name = "tiny"
    if dataset == "places_lt":
        config.model.name = "tiny_with_block"
    for stage in stages(dataset, config):
        if stage.name == last:
            break
        found = jax.device_get(stage._init_network(jax.random.key(1)))
    state, constants, _ = stage.start(0, found, "the stage before")
    for leaf in jax.tree.leaves(state.params):
        assert np.isfinite(leaf).all()
    if stage.settings.epochs:
        state, metric_sums = stage.step(state, constants, next(stage.feed.blocks([0], 0, 0, [1])), np.int32(1))
        assert np.isfinite(metric_sums["loss"])
        assert state.step == 1
