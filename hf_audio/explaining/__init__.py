"""Explains why a model predicts a class for a sound: relevance of each part of its input, with checks."""
