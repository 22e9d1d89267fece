"""Checkpoints: saving, verifying and quarantining them, and the variables that a stage starts from."""
