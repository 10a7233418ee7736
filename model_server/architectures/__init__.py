"""Builders of models small enough to train on a CPU, and of their processors."""
