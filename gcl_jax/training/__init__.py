"""Training: an experiment is its stages in order, a stage a jitted step and a loop around it."""
