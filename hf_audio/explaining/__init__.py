"""Explains why a model predicts a class for a sound, by the relevance of each part of the input, with checks."""
