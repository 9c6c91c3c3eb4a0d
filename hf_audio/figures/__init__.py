"""Plots of data: classes, lengths, windows, features. Nothing here touches matplotlib's global state."""
