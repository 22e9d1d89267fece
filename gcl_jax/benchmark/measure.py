"""Run a subject: start its contenders, let them take turns, and put the numbers together."""

import contextlib
from collections.abc import Callable

from gcl_jax.benchmark import harness, machine
from gcl_jax.benchmark.subjects import CEILING, Subject
from gcl_jax.errors import UserError

TURN_SECONDS = 2.0  # of contenders whose unit is shorter


def measure(subject: Subject, rounds: int, say: Callable[[str], None]) -> dict:
    """Measure ``subject``; the part of a report (see `report`) that is its own. ``log_info`` gets progress lines."""
    with contextlib.ExitStack() as stack:
        workers: list[harness.Worker] = []
        measured: dict = {}
        for contender in subject.contenders:
            say(f"starting {contender.name}")
            workers.append(stack.enter_context(contender.start(measured)))
            if not measured:
                measured = workers[0].facts()
                if subject.ratios:
                    check_platform(measured["platform"])
        units = [harness.units_for(worker, TURN_SECONDS) for worker in workers]
        say(f"{rounds} rounds")
        busy = []
        times = harness.interleave(workers, units, rounds, lambda: busy.append(machine.busy_cores()))
        facts = [worker.facts() for worker in workers]
    return combine(subject, units, times, facts) | {"busy_cores": busy}


def check_platform(platform: str) -> None:
    """Raise UserError where PyTorch cannot do the same work as JAX on ``platform``."""
    if platform not in ("cpu", "gpu"):
        raise UserError(
            f"--against=torch: JAX runs on a {platform} here, where this comparison has no PyTorch: leave the flag "
            "out, or compare on the CPU with JAX_PLATFORMS=cpu"
        )


def combine(subject: Subject, units: list[int], times: list[list[float]], facts: list[dict]) -> dict:
    """The rows, ratios and rates that follow from what each contender took and said."""
    rows: dict[str, dict] = {}
    for contender, number, took, contender_facts in zip(subject.contenders, units, times, facts, strict=True):
        row = {"side": contender.side, "units_per_turn": number, "seconds": harness.spread(took)}
        if "images_per_unit" in contender_facts:
            row["images_per_second"] = harness.spread(
                [contender_facts["images_per_unit"] / seconds for seconds in took]
            )
            if "per_core" in contender_facts:
                per_core = [
                    contender_facts["images_per_unit"] / seconds / contender_facts["per_core"] for seconds in took
                ]
                row["images_per_second_per_core"] = harness.spread(per_core)
        rows[contender.name] = row | {"seconds_by_round": took} | contender_facts
    return {
        "title": subject.title,
        "unit": f"{facts[0]['steps']} steps" if "steps" in facts[0] else subject.unit,
        "accelerator": None if facts[0]["platform"] == "cpu" else facts[0]["kind"],
        "rows": rows,
        **_ratios(subject, rows),
        **_rates(rows),
        "notes": list(subject.notes),
    }


def _ratios(subject: Subject, rows: dict[str, dict]) -> dict:
    ratios: dict = {}
    ours = rows[subject.contenders[0].name]["seconds_by_round"]
    for key, others in subject.ratios.items():
        theirs = {other.name: rows[other.name]["seconds_by_round"] for other in others}
        best = harness.fastest(theirs)
        spread = harness.speed_ratio(ours, theirs[best])
        ratios |= {
            key: spread["median"],
            f"{key}_min": spread["min"],
            f"{key}_max": spread["max"],
            f"{key}_against": best,
        }
    return ratios


def _rates(rows):
    """What our program reaches of what the ceilings reached in their best round."""
    rates = {}
    ours = next(iter(rows.values()))
    for what in ("flops", "bytes"):
        ceilings = [row for row in rows.values() if row["side"] == CEILING and f"{what}_per_unit" in row]
        for ceiling in ceilings:
            if ours[f"{what}_per_unit"]:
                rates[f"{what}_per_second"] = ours[f"{what}_per_unit"] / ours["seconds"]["median"]
            rates[f"{what}_per_second_ceiling"] = ceiling[f"{what}_per_unit"] / ceiling["seconds"]["min"]
    return rates
