"""The search for a recipe's settings: from a space file to trials, their pictures, and the best settings on test."""
