"""Our own feature extractors, for features that transformers lacks: each file is copied to the models that use it."""
