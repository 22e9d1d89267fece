"""Run gcl_jax.main, and kill -9 the process at a chosen moment: run_and_kill.py STAGE (step|save) NUMBER ARGS...

"step" kills after that many updates of the stage; "save" lets the checkpoint of that step be
written and kills at the rename that would make it complete; at "never" nothing is killed. Where
--config.steps_per_call is given, steps run in a loop, as on an accelerator.
"""

import dataclasses
import os
import runpy
import signal
import sys
import time

import gcl_jax.training.trainer as trainer
from gcl_jax.runtime import backend


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def main(stage, moment, number, *arguments):
    if any(argument.startswith("--config.steps_per_call=") for argument in arguments):
        backend.loops = lambda *, resident: resident
    original = trainer.Trainer.fit

    def fit(self):
        if self.program.name == stage and moment == "step":
            step, done = self.program.step, [self.done]

            def counted(state, constants, block, n):
                result = step(state, constants, block, n)
                done[0] += int(n)
                if done[0] >= int(number):
                    kill()
                return result

            self.program = dataclasses.replace(self.program, step=counted)
        if self.program.name == stage and moment == "save":
            save_all = self.runs.save

            def save(done, state, pending_eval=False):
                if done == int(number):
                    kill_before_rename_to(number)
                save_all(done, state, pending_eval)
                if done == int(number):
                    time.sleep(20)
                    sys.exit("the checkpoint was never renamed into place")

            self.runs.save = save
        return original(self)

    trainer.Trainer.fit = fit
    sys.argv = ["main", *arguments]
    runpy.run_module("gcl_jax.main", run_name="__main__")


def kill_before_rename_to(name):
    """Die at the moment that would make the checkpoint complete: all written, not yet in place."""

    def deadly(original):
        def rename(source, target, *args, **kwargs):
            if os.path.basename(os.fspath(target)) == name:
                kill()
            return original(source, target, *args, **kwargs)

        return rename

    os.rename, os.replace = deadly(os.rename), deadly(os.replace)


if __name__ == "__main__":
    main(*sys.argv[1:])
