"""What functions of arrays take: JAX's arrays, which include traced ones, and NumPy's."""

import jax
import numpy as np

AnyArray = jax.Array | np.ndarray
