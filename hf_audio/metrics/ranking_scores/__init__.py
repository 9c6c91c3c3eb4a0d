"""This file only makes the folder part of the installed package; a Space does not need it."""
