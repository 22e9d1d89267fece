"""TensorFlow for what this package uses it: reading and decoding images, TensorBoard's files; never training."""

import functools
import os
import types


@functools.cache
def load() -> types.ModuleType:
    """The module tensorflow, without its log lines and without the accelerator, which is JAX's.

    All imports of TensorFlow, and of packages that import it, come after this one. Raises ImportError where it is not
    installed.
    """
    # oneDNN serves networks, which are not TensorFlow's here; its greeting cannot be turned off otherwise.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    level = os.environ.get("TF_CPP_MIN_LOG_LEVEL")
    if level in (None, "1"):  # JAX has set the 1; what is wrong with a damaged image, its exception says
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    try:
        import tensorflow as tf
    finally:
        if level is not None:  # for XLA, which may not have looked yet
            os.environ["TF_CPP_MIN_LOG_LEVEL"] = level
        else:
            del os.environ["TF_CPP_MIN_LOG_LEVEL"]
    tf.config.set_visible_devices([], "GPU")
    return tf
