"""A command that is over ends with its own status, whatever its libraries do when they are taken apart."""

import subprocess
import sys

import pytest

CRASHES = """
import sys
from gcl_jax.runtime import leaving
leaving.skip_teardown()
import atexit, os, signal
class Library:
    def __del__(self, kill=os.kill, own=os.getpid(), number=signal.SIGSEGV):
        kill(own, number)
sys.modules["library"] = Library()  # which goes when the interpreter does
atexit.register(lambda: print("done at exit"))
with leaving.exit_within():
    print("written", end=" ")
    {ends}
"""


@pytest.mark.parametrize(
    ("ends", "status", "told"),
    [
        ("pass", 0, ""),
        ("sys.exit(0)", 0, ""),
        ("sys.exit('error: a line')", 1, "error: a line\n"),
        ("sys.exit(3)", 3, ""),
        ("raise RuntimeError('ours')", 1, "RuntimeError: ours\n"),
    ],
)
def test_the_status_is_the_commands(ends, status, told):
    done = subprocess.run([sys.executable, "-c", CRASHES.format(ends=ends)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (status, "written done at exit\n")
    assert done.stderr.endswith(told)
