"""Leakage between splits: the same sound in two splits, and how much it inflates accuracy."""
