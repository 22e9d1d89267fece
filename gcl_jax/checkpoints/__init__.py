"""Checkpoints: saved, verified, set aside where damaged, and where a stage starts from."""
