"""Evaluation of runs, their reports and plots, and plots of datasets."""
