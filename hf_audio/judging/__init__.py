"""Evaluation of any model on any data: pure functions of its window scores, and reports made from them."""
