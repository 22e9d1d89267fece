"""What is written to standard error is there at once, not when the process ends."""

import subprocess
import sys


def test_standard_error_comes_before_what_is_printed_later():
    code = "import os, sys; from gcl_jax.runtime import streams; streams.guard(); print('first', file=sys.stderr); "
    done = subprocess.run([sys.executable, "-c", code + "os._exit(0)"], capture_output=True, text=True)
    assert done.stderr == "first\n"
