"""Speed of this package, alone or against PyTorch: ``python -m gcl_jax.benchmark SUBJECT``.

Each contender is a process of its own (`worker`), with its own thread pools and allocator; they warm up,
then take turns (A B A B), and idle ones sleep. `report` says what is in the table and the JSON file.
"""
