"""Label quality: probable label errors, effect of corrections, agreement, and splitting a label in two."""
