"""Config files and recipes: every row validates, is what it was, and each of its stages takes a step."""

import collections
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT
from ml_collections import ConfigDict
from tiny import load_config, override

from gcl_jax import data, optim
from gcl_jax.config import migrate, validation
from gcl_jax.errors import UserError
from gcl_jax.models import BACKBONES, Features
from gcl_jax.models.norm import BatchNorm
from gcl_jax.recipes import NO_RATIO, RATIOS, RECIPES, Protocol
from gcl_jax.registry import option
from gcl_jax.runtime import mesh
from gcl_jax.table.specs import TABLES
from gcl_jax.training.stage import Stage

pytestmark = pytest.mark.usefixtures("quick_compilation")

BY_RATIO = ("cifar10_lt", "cifar100_lt", "digits_lt")  # the others take a folder
FILES = sorted(path.stem for path in (ROOT / "configs").iterdir() if path.name != "__pycache__")
OLD = json.loads((ROOT / "tests" / "fixtures" / "configs_9e1ba50.json").read_text())  # of one file a row, but defaults
ROWS = {}  # {(data set, recipe, overrides): None}
for table in TABLES.values():
    for row in table.rows:
        for dataset in (*table.columns, *(("digits_lt",) if "cifar10_lt" in table.columns else ())):
            ROWS[dataset, row.recipe, row.overrides] = None


def argument_of(dataset):
    return "100" if dataset in BY_RATIO else "somewhere"


def test_every_recipe_is_a_row_of_a_table():
    assert {recipe for _, recipe, _ in ROWS} == RECIPES.keys()


@pytest.mark.parametrize("name", OLD)
def test_a_config_is_that_of_the_file_it_had(name):
    """As commit 9e1ba50 had it, in one file a row: identities and finished runs stay valid."""
    found = migrate.with_defaults(ConfigDict(OLD[name]))
    today = load_config(name.replace("/", ":"), None)
    assert json.dumps(found.to_dict(), sort_keys=True) == json.dumps(today.to_dict(), sort_keys=True)


def test_the_fixture_holds_every_file_of_old():
    by_dataset = collections.Counter(name.split("/")[0] for name in OLD)
    assert by_dataset == {"cifar10_lt": 26, "cifar100_lt": 22, "digits_lt": 26, "folder": 2, "photos_lt": 2} | (
        dict.fromkeys(("imagenet_lt", "inat2018", "places_lt"), 10)
    )


@pytest.mark.parametrize("file", FILES)
def test_the_file_shows_how_to_run_it_and_its_values(file):
    text = (ROOT / "configs" / f"{file}.py").read_text()
    assert f"--config=configs/{file}.py:gcl,{'100' if file in BY_RATIO else 'DIR'} " in text
    for shown in (
        "data=dict(",
        "model=dict(",
        "epochs=",
        "batch_size=",
        "learning_rate=",
        "weight_decay=",
        "schedule=",
    ):
        assert shown in text
    assert f'dataset="{file}"' in text


@pytest.mark.parametrize("row", RECIPES)
@pytest.mark.parametrize("file", FILES)
def test_every_recipe_is_a_row_everywhere(file, row):
    config = load_config(f"{file}:{row}", argument_of(file))
    if file in BY_RATIO or row not in ("bbn", "tde"):  # ResNets for photographs have no experts
        validation.validate(config)
    if file not in BY_RATIO:
        assert config.data.path == "somewhere"
        assert config.data.loader == "host"
        for part in ("train", "test", "validation"):
            listed = config.data.photos[f"{part}_list"]
            assert not listed or listed.startswith("somewhere/")


@pytest.mark.parametrize("file", [file for file in FILES if file not in BY_RATIO])
def test_without_a_folder_it_is_in_data(file):
    assert load_config(f"{file}:ce", None).data.path == ("" if file == "folder" else f"data/{file}")
    assert load_config(f"{file}:ce", "a, b,c").data.path == "a, b,c"


@pytest.mark.parametrize("row", RECIPES)
@pytest.mark.parametrize("file", BY_RATIO)
def test_every_ratio_is_a_valid_config(file, row):
    assert load_config(f"{file}:{row}", None).data.imbalance_ratio == 100.0
    for ratio in ("200", "50", "10"):
        config = load_config(f"{file}:{row}", ratio)
        validation.validate(config)
        assert config.data.imbalance_ratio == float(ratio)


def test_published_numbers_are_of_data_sets_that_are_there():
    for recipe in RECIPES.values():
        for dataset, numbers in recipe.published.items():
            assert dataset in FILES
            assert set(numbers) <= (set(RATIOS) if dataset in BY_RATIO else {NO_RATIO})
            assert all(20 < number < 90 for number in numbers.values())
    assert RECIPES["mislas"].published["cifar100_lt"] == {200: 42.33, 100: 47.50, 50: 52.62}
    assert RECIPES["gcl"].published["places_lt"] == {NO_RATIO: 40.64}


def test_a_protocol_falls_back_in_order():
    protocol = Protocol(
        dataset="mine", fallbacks=("photos_lt", "cifar10_lt"), blocks={"data": {}}, epochs=1, first_epochs=1,
        batch_size=1, optimizer={},
    )  # fmt: skip
    assert protocol.pick({"cifar10_lt": 1, "mine": 2, "photos_lt": 3}) == 2
    assert protocol.pick({"cifar10_lt": 1, "photos_lt": 3}) == 3
    assert protocol.imbalance_ratio is None
    with pytest.raises(UserError, match="the row has no values for mine, but for imagenet_lt"):
        protocol.pick({"imagenet_lt": 1})


def test_mislas_takes_its_settings_by_data_set_and_ratio():
    """Published: C10 (.3, 0, no shift, .5), (.2, 0, no, .2), (.1, 0, no, .2); C100 (.4, .1, shift, .2), ..."""

    def settings(file, ratio):
        stage = load_config(file, ratio).classifier
        (rule,) = optim.parse_rules(stage.optimizer.lr_mult, "lr_mult")
        return stage.method.smoothing_head, stage.method.smoothing_tail, stage.bn, rule[1]

    assert settings("cifar10_lt:mislas", "100") == (0.3, 0.0, "frozen", 0.5)
    assert settings("cifar10_lt:mislas", "50") == (0.2, 0.0, "frozen", 0.2)
    assert settings("cifar10_lt:mislas", "10") == (0.1, 0.0, "frozen", 0.2)
    assert settings("cifar100_lt:mislas", "200") == settings("cifar100_lt:mislas", "100")
    assert settings("cifar100_lt:mislas", "100") == (0.4, 0.1, "stats_only", 0.2)
    assert settings("cifar100_lt:mislas", "50") == (0.3, 0.0, "stats_only", 0.1)
    assert settings("cifar100_lt:mislas", "10") == (0.2, 0.0, "stats_only", 0.1)


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
    config = load_config(f"{dataset}:{name}", argument_of(dataset))
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
            block = next(stage.input_pipeline.blocks([0], 0, 0, [1]))
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
        state, metric_sums = stage.step(
            state, constants, next(stage.input_pipeline.blocks([0], 0, 0, [1])), np.int32(1)
        )
        assert np.isfinite(metric_sums["loss"])
        assert state.step == 1
