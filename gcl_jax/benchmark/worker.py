"""The process of one contender: ``python -m gcl_jax.benchmark.worker MODULE.CLASS JSON_SETTINGS``; see `harness`.

A contender is a class in this package. It warms up when it is made with the settings as keyword
arguments; ``run(units)`` works and returns when all of it is done; ``facts()`` is a dict.
"""

import importlib
import json
import os
import sys
import time
from typing import TextIO

from gcl_jax.errors import UserError


def serve(contender: str, settings: dict, requests: TextIO, answers: TextIO) -> None:
    """Answer ``requests`` until they end."""

    def answer(text: str) -> None:
        answers.write(f"{text}\n")
        answers.flush()

    module, name = contender.split(".")
    try:
        made = getattr(importlib.import_module(f"gcl_jax.benchmark.{module}"), name)(**settings)
        answer("ready")
        for line in requests:
            if line.strip() == "facts":
                answer(json.dumps(made.facts()))
                continue
            units, began = int(line), time.perf_counter()
            made.run(units)
            answer(json.dumps({"seconds": time.perf_counter() - began}))
    except UserError as error:
        answer(json.dumps({"error": str(error)}))


def _main() -> None:
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.argv[1], json.loads(sys.argv[2]), sys.stdin, answers)


if __name__ == "__main__":
    _main()
