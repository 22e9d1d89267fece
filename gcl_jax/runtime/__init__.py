"""The machine under a run: backend, devices, processes, memory, signals."""
