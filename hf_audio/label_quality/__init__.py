"""Label quality: probable label errors, comparison of corrections, agreement, two kinds of sound under one label."""
