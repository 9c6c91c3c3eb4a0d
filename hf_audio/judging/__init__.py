"""Evaluation of any model on any data: pure functions of window scores, and the reports made from them."""
