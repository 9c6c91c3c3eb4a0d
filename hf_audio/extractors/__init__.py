"""Feature extractors of our own, for what transformers has none: each file is copied to the models that use it."""
