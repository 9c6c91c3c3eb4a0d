"""Leakage between splits: the same sound in two of them, and how much that inflates accuracy."""
