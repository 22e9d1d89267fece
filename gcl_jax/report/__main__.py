"""Report on finished runs: python -m gcl_jax.report embedding --workdir=CE_RUN --workdir=GCL_RUN [--out=DIR].

embedding   t-SNE of the test features, one panel a run, with the silhouette and the distances of head and tail
            classes as numbers (DIR/embedding.png and DIR/embedding.json)
"""

from pathlib import Path

from absl import app, flags, logging

from gcl_jax.errors import UserError, in_one_line, require

_WORKDIR = flags.DEFINE_multi_string("workdir", [], "Folder of a run; repeat it to compare runs.")
_LABEL = flags.DEFINE_multi_string("label", [], "Title of each run's panel, in the same order; else its folder's name.")
_STAGE = flags.DEFINE_string("stage", "", "The stage whose network embeds; by default the first that was trained.")
_OUT = flags.DEFINE_string("out", ".", "Folder to write to.")
_IMAGES = flags.DEFINE_integer("images", 2000, "Test images in the picture, as many of each class.", lower_bound=10)


@in_one_line()
def main(argv: list[str]) -> None:
    """Write the report; a UserError becomes one line and exit status 1."""
    logging.set_verbosity(logging.ERROR)
    from gcl_jax import compilation_cache, logs  # the heavy half, now that the command is good
    from gcl_jax.report import embedding, figure

    compilation_cache.use()
    labels = _LABEL.value or [Path(folder).absolute().name for folder in _WORKDIR.value]
    found = [(label, embedding.read(w, _STAGE.value)) for label, w in zip(labels, _WORKDIR.value, strict=True)]
    numbers = {label: embedding.describe(one) for label, one in found}
    out = Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    logs.write_json(out / "embedding.json", numbers)
    print(table(numbers))
    figure.draw(found, out / "embedding.png", _IMAGES.value)
    print(f"written: {out / 'embedding.json'}, {out / 'embedding.png'}")


def table(numbers: dict) -> str:
    """The numbers for people: one row a run."""
    head = f"{'run':<24}{'silhouette':>11}" + "".join(
        f"{half + ' ' + what:>14}" for what in ("between", "nearest", "spread") for half in ("head", "tail")
    )
    rows = [head, "-" * len(head)]
    for label, one in numbers.items():
        row = f"{label[:23]:<24}{one['silhouette']:>11.3f}"
        for what in ("between", "nearest", "spread"):
            for half in ("head", "tail"):
                value = one[half][what]
                row += f"{'-' if value is None else format(value, '.3f'):>14}"
        rows.append(row)
    rows.append("distances of unit features: between class means, to the nearest other mean, of images to their mean")
    return "\n".join(rows)


@in_one_line()
def _parse(argv: list[str]) -> list[str]:
    rest = flags.FLAGS(argv)
    if rest[1:] != ["embedding"]:
        raise UserError("name one report: embedding")
    if not _WORKDIR.value:
        raise UserError("--workdir is missing; name the folder of a run")
    names = _LABEL.value or _WORKDIR.value
    require(len(names) == len(_WORKDIR.value), "--label", _LABEL.value, "given once for each --workdir, or not")
    require(len(set(names)) == len(names), "--label or --workdir", names, "different for each run")
    return rest


if __name__ == "__main__":
    app.run(main, flags_parser=_parse)
