"""Fill the tables of measured numbers in README.md and docs/ from results/: `make results`.

A page holds <!-- results: NAME --> ... <!-- end -->; what stands between is `BLOCKS[NAME]()`, and is never typed.
"""

import csv
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from gcl_jax.recipes import RECIPES
from gcl_jax.table.significance import paired, wilson

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
FULL, FROM_AUTHORS = RESULTS / "cifar10_lt_100_full_length", RESULTS / "cifar10_lt_100_from_reference_stage1"
GROUPS = ("many", "medium", "few")


def _json(file: Path | str) -> dict:
    return json.loads((RESULTS / file).read_text())


def _rows(file: Path) -> dict[str, dict]:
    """{row: {"label", "published", "seeds": [line of each seed]}} of a table's CSV, in its order."""
    found: dict[str, dict] = {}
    with file.open() as stream:
        for line in csv.DictReader(stream):
            row = found.setdefault(line["row"], {k: line[k] for k in ("label", "published", "ratio")} | {"seeds": []})
            row["seeds"].append(line)
    return found


def _values(row: dict, name: str) -> list[float]:
    return [float(seed[name]) for seed in row["seeds"] if seed[name]]


def _mean_std(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"{np.mean(values):.2f}" + (f" +- {np.std(values, ddof=1):.2f}" if len(values) > 1 else "")


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f}" if values else "-"


def _table(*lines: Sequence[str]) -> str:
    head, *rest = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([head.replace("|  |", "| |"), "|" + "---|" * len(lines[0]), *rest])


def _published(row: str) -> str:
    return f"{number:.2f}" if (number := RECIPES[row].published.get("cifar10_lt", {}).get(100)) else "-"


def _full_length() -> tuple[dict[str, dict], dict[str, float]]:
    """The two runs at full length, and what the authors' modules reach on the same recipe."""
    return {row: _json(FULL / f"{row}.json") for row in ("ce", "gcl_published")}, _json(FULL / "authors_modules.json")


def front_cifar10() -> str:
    """README's table: CIFAR-10-LT at ratio 100, ours beside the published number, best first but for CE."""
    runs, theirs = _full_length()
    ce, gcl = (runs[row]["final"]["test"]["accuracy"] for row in ("ce", "gcl_published"))
    epochs = [stage["epochs"] for stage in runs["gcl_published"]["stages"].values()]
    lines: list[tuple[str, ...]] = [
        ("", "here", "published"),
        (
            f"CE (cross-entropy), {runs['ce']['stages']['representation']['epochs']} epochs",
            f"{ce:.2f}",
            _published("ce"),
        ),
        (
            f"GCL, both stages, {' + '.join(map(str, epochs))} epochs",
            f"**{gcl:.2f}**",
            f"{_published('gcl')} (the authors' modules: {theirs['gcl_published']:.2f})",
        ),
    ]
    on_ce = [row for name, row in _rows(FULL / "on_ce.csv").items() if name != "ce"]
    for row in sorted(on_ce, key=lambda row: -np.mean(_values(row, "accuracy"))):
        lines.append((f"{row['label']}, on that CE network", _mean(_values(row, "accuracy")), row["published"] or "-"))
    best = {row: list(run["stages"].values())[-1]["best"]["on_test"]["test_accuracy"] for row, run in runs.items()}
    return (
        _table(*lines)
        + "\n\nOurs is one seed at the last epoch; the published numbers are single runs at the epoch that is best\n"
        f"on the test set, where CE here has {best['ce']:.2f} and GCL {best['gcl_published']:.2f}."
    )


def cifar10_full_length() -> str:
    """Every stage at full length, with seeds, code and device."""
    runs, theirs = _full_length()
    head = ("", "all", "authors' modules", "published", "best on test", "many", "medium", "NLL", "ECE in %", "hours")
    lines: list[tuple[str, ...]] = [head]
    for row, stage, label, modules in (
        ("ce", "representation", "CE", ""),
        ("gcl_published", "representation", "GCL, stage 1", "gcl_stage1"),
        ("gcl_published", "classifier", "GCL, both stages (class-balanced)", "gcl_published"),
    ):
        found = runs[row]["stages"][stage]
        test, best = found["final"]["test"], found["best"]["on_test"]
        last = stage == list(runs[row]["stages"])[-1]
        lines.append(
            (
                f"{label}, {found['epochs']} epochs",
                f"{test['accuracy']:.2f}",
                f"{theirs[modules]:.2f}" if modules else "-",
                _published("gcl" if row != "ce" else "ce") if last else "-",
                f"{best['test_accuracy']:.2f} (epoch {best['epoch']})",
                f"{test['many']:.2f}",
                f"{test['medium']:.2f}",
                f"{test['nll']:.3f}",
                f"{100 * test['ece']:.2f}",
                f"{found['seconds'] / 3600:.1f}",
            )
        )
    return (
        _table(*lines)
        + "\n\n"
        + "\n".join(f"* `{row}`: {_made_by(run)}{_commit(f'{FULL.name}/{row}')}." for row, run in runs.items())
    )


def _commit(what: str) -> str:
    return f", commit {_json('commits.json')[what]}"


def _device(table: Path) -> str:
    """What the Markdown of a table says of its seeds and its machine."""
    text = table.read_text()
    seeds, device = (re.search(line, text, re.MULTILINE) for line in (r"Seeds: (\d+)", r"^Device: (.*)[.]$"))
    if not (seeds and device):
        raise ValueError(f"{table} does not say its seeds and its device")
    return f"{seeds[1]} seeds, {device[1]}"


def _made_by(run: dict) -> str:
    device, versions = run["device"], run["versions"]
    code = f", code {run['code']}" if run.get("code") else ""
    seed = f"seed {run['seed']}, " if "seed" in run else ""
    where = f"{device['count']} x {device['kind']}, Python {versions['python']}, jax {versions['jax']}"
    return f"{seed}{where}{code}"


def cifar10_on_ce() -> str:
    """What stands on CE's network at full length."""
    rows = _rows(FULL / "on_ce.csv")
    lines: list[tuple[str, ...]] = [("", "all", "95 % over test images", "many", "medium", "NLL", "ECE in %")]
    lines += [(row["label"], *_over_images(row), *_details(row)) for row in rows.values()]
    return _table(*lines)


def _over_images(row: dict) -> tuple[str, str]:
    accuracy = _values(row, "accuracy")
    low, high = wilson(float(np.mean(accuracy)), int(row["seeds"][0]["test_images"]))
    return _mean_std(accuracy), f"[{low:.2f}, {high:.2f}]"


def _details(row: dict) -> tuple[str, ...]:
    groups = (_mean_std(_values(row, name)) for name in ("many", "medium"))
    return *groups, f"{np.mean(_values(row, 'nll')):.3f}", f"{100 * np.mean(_values(row, 'ece')):.2f}"


def cifar10_stage2() -> str:
    """Tables 4 and 5 from the authors' stage 1."""
    theirs = _json(FULL / "authors_modules.json")
    theirs["class_balanced"] = theirs["gcl_published"]
    lines: list[tuple[str, ...]] = [("", "ours", "seeds", "authors' modules", "published")]
    for table in ("table4", "table5"):
        for name, row in _rows(FROM_AUTHORS / f"{table}.csv").items():
            if (table, name) == ("table5", "gcl"):  # CBEN + cRT stands in table 4
                continue
            modules = theirs.get("gcl_stage1" if name == "none" else name)
            cells = (_mean_std(_values(row, "accuracy")), str(len(row["seeds"])))
            label = "no re-training" if name == "none" else row["label"]
            lines.append((label, *cells, f"{modules:.2f}" if modules else "-", row["published"] or "-"))
    code_ab = _json(FROM_AUTHORS / "grid_code_ab.json")["final"]["test"]["accuracy"]
    lines.append(("CBEN, a and b of the published code", f"{code_ab:.2f}", "1", "-", "-"))
    return _table(*lines)


def digits_ten_seeds() -> str:
    """README's digits: CE against GCL over ten seeds, and what can be said of the difference."""
    rows = _json("digits_lt_100_ten_seeds.json")["rows"]

    def values(method: str, stage: str, name: str) -> list[float]:
        return [seed[stage][name] for seed in rows[method]["seeds"].values()]

    ours = (
        ("CE (80 epochs)", "ce", "representation"),
        ("GCL, stage 1 (60 epochs)", "gcl", "representation"),
        ("GCL, both stages (60 + 20)", "gcl", "classifier"),
    )
    lines: list[tuple[str, ...]] = [("", "all", *GROUPS)]
    for label, method, stage in ours:
        groups = [_mean(values(method, stage, name)) for name in ("many", "medium")]
        few = _mean_std(values(method, stage, "few"))
        lines.append((label, _mean_std(values(method, stage, "accuracy")), *groups, few))
    ce = values("ce", "representation", "accuracy")
    both, first = (paired(values("gcl", stage, "accuracy"), ce) for stage in ("classifier", "representation"))
    if None in (both.low, both.high, first.low, first.high):
        raise ValueError("ten seeds without a spread")
    low, high, first_low, first_high = (float(end or 0) for end in (both.low, both.high, first.low, first.high))
    beats = "beats CE" if low > 0 else "does not differ from CE"
    alone = "is better, too" if first_low > 0 else "is worse" if first_high < 0 else "does not differ"
    return (
        f"{_table(*lines)}\n\nGCL {beats} by {both.mean:.2f} points (paired by seed, 95 % interval {low:.2f} to "
        f"{high:.2f}); its first stage alone\n{alone} ({first.mean:+.2f}, {first_low:.2f} to {first_high:.2f})."
    )


def digits_methods() -> str:
    """Every method on digits, two seeds, in the order of the tables."""
    found: dict[str, dict] = {}
    for name in ("table1", "baselines"):
        found |= {row: of for row, of in _rows(RESULTS / f"digits_lt_tables/{name}.csv").items() if row not in found}
    lines: list[tuple[str, ...]] = [("method", "row", "all", *GROUPS)]
    for name, row in found.items():
        groups = (_mean(_values(row, group)) for group in GROUPS)
        lines.append((row["label"], f"`{name}`", _mean_std(_values(row, "accuracy")), *groups))
    made = _device(RESULTS / "digits_lt_tables/table1.md")
    return f"{_table(*lines)}\n\n{made}{_commit('digits_lt_tables')}."


def photos() -> str:
    """CE and GCL on 101 classes of photographs, with the intervals of the test images."""
    lines: list[tuple[str, ...]] = [("", "all", "95 % over test images", "medium", "few")]
    for row in _rows(RESULTS / "photos_lt/baselines.csv").values():
        lines.append((row["label"], *_over_images(row), *(_mean_std(_values(row, g)) for g in ("medium", "few"))))
    return f"{_table(*lines)}\n\n{_device(RESULTS / 'photos_lt/baselines.md')}{_commit('photos_lt')}."


def speed() -> str:
    """CPU speed beside PyTorch: images/s, median, ratio with its extremes, host memory at most."""
    subjects = (
        ("step", "ratio", "`step`: GCL stage 1, data resident"),
        ("epoch", "ratio", "`epoch`: 20 steps through the host loop"),
        ("epoch", "ratio_authors_loop", "`epoch`, PyTorch as DataLoader, Pillow, `.item()`"),
        ("eval", "ratio", "`eval`: 10,000 images"),
        ("input", "ratio", "`input`: host loader, uint8, augmented later in the step"),
    )
    lines: list[tuple[str, ...]] = [("subject", "Python", "gcl_jax", "PyTorch", "ratio", "our peak host memory")]
    for subject, key, label in subjects:
        for python in ("312", "311"):
            report = _json(f"benchmark_{subject}_python{python}.json")
            ours = next(iter(report["rows"].values()))
            theirs = report["rows"][report[f"{key}_against"]]
            digits = 2 if report[key] < 5 else 1
            ratio, low, high = (f"{report[key + end]:.{digits}f}" for end in ("", "_min", "_max"))
            rates = (_rate(row["images_per_second"]["median"]) for row in (ours, theirs))
            memory = f"{ours['host_peak_bytes'] / 2**20:.0f} MiB"
            name = label if python == "312" else ""
            lines.append((name, f"{python[0]}.{python[1:]}", *rates, f"{ratio} ({low} .. {high})", memory))
    cpu = f"{report['machine']['cores']} cores of an {report['machine']['cpu']}"
    made = f"{cpu}, {report['rounds']} rounds in turns{_commit('benchmarks')}."
    return f"{_table(*lines).replace('|  |', '| |')}\n\n{made}"


def _rate(number: float) -> str:
    return f"{number:,.1f}" if number < 1000 else f"{number:,.0f}"


def memory() -> str:
    """Host memory at most, of whole runs."""
    lines: list[tuple[str, ...]] = [("run", "GiB at most", "made by")]
    short = _json("cifar10_lt_100_gcl_published_1_1_memory.json")
    runs = {f"{row}, full length": run for row, run in _full_length()[0].items()}
    for label, run in (("gcl_published, 1 + 1 epochs", short), *runs.items()):
        peaks = [stage["memory"]["host_peak_bytes"] for stage in run["stages"].values() if "memory" in stage]
        lines.append((label, f"{max(peaks) / 2**30:.2f}" if peaks else "-", _made_by(run)))
    return _table(*lines)


MADE = (
    front_cifar10,
    cifar10_full_length,
    cifar10_on_ce,
    cifar10_stage2,
    digits_ten_seeds,
    digits_methods,
    photos,
    speed,
    memory,
)
BLOCKS: dict[str, Callable[[], str]] = {function.__name__: function for function in MADE}
BLOCK = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """``text`` with every block as results/ has it today; KeyError for a name that is none."""
    return BLOCK.sub(lambda match: f"{match[1]}{BLOCKS[match[2]]()}\n{match[3]}", text)


def pages() -> list[Path]:
    """The pages that can hold blocks."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


if __name__ == "__main__":
    for page in pages():
        page.write_text(filled(page.read_text()))
