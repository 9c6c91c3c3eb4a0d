"""Evaluation of any model on any data: pure functions of window scores, and reports computed from them."""
