"""What pyproject.toml cannot say: the files of configs/ are in the installed package, as gcl_jax/configs."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["gcl_jax", "gcl_jax.*"]), "gcl_jax.configs"],
    package_dir={"gcl_jax.configs": "configs"},
)
