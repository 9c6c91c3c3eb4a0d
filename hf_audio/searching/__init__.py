"""The search for a recipe's settings: from a space file to trials, figures and the test scores of the best settings."""
