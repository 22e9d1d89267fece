"""The methods, one file each, and their registry. A new method is one file and two lines here, or none (`register`)."""

from gcl_jax.methods.apply import Apply
from gcl_jax.methods.base import ClassInfo, LossOut, Method, StepInfo, Stream
from gcl_jax.methods.bbn import BBN
from gcl_jax.methods.cross_entropy import CrossEntropy
from gcl_jax.methods.decoupling import NearestClassMean, TauNorm
from gcl_jax.methods.disalign import DisAlign
from gcl_jax.methods.gcl import GCL, AngularGCL
from gcl_jax.methods.hybrid_sc import HybridSC
from gcl_jax.methods.ldam import LDAM
from gcl_jax.methods.logit_adjustment import LogitAdjustment
from gcl_jax.methods.mislas import MiSLAS
from gcl_jax.methods.oltr import OLTR
from gcl_jax.methods.tde import TDE
from gcl_jax.registry import Registry

METHODS: Registry[type[Method]] = Registry(
    "method",
    {
        "cross_entropy": CrossEntropy,
        "gcl": GCL,
        "gcl_angular": AngularGCL,
        "ldam": LDAM,
        "logit_adjustment": LogitAdjustment,
        "tau_norm": TauNorm,
        "nearest_class_mean": NearestClassMean,
        "mislas": MiSLAS,
        "disalign": DisAlign,
        "bbn": BBN,
        "tde": TDE,
        "hybrid_sc": HybridSC,
        "oltr": OLTR,
    },
)


def register(name: str, method: type[Method]) -> None:
    """Make ``method`` available as ``config.STAGE.method.name = name`` (for methods kept outside this package).

    A config file is executed more than once, so the class of the same module and name is replaced. Commands that read
    no config file (`gcl_jax.predict`, `export`, `report`) find it if the module that calls this is in config.plugins.

    Raises UserError if the name is taken by another class.
    """
    METHODS.register(name, method)


def posthoc_rules() -> list[str]:
    """The hyper-parameters of any method that `config.posthoc` can change after training."""
    return sorted({rule for method in METHODS.values() for rule in method.posthoc})


__all__ = [
    "BBN",
    "GCL",
    "LDAM",
    "METHODS",
    "OLTR",
    "TDE",
    "AngularGCL",
    "Apply",
    "ClassInfo",
    "CrossEntropy",
    "DisAlign",
    "HybridSC",
    "LogitAdjustment",
    "LossOut",
    "Method",
    "MiSLAS",
    "NearestClassMean",
    "StepInfo",
    "Stream",
    "TauNorm",
    "posthoc_rules",
    "register",
]  # fmt: skip
