"""Why a model says a class of a sound: relevance of each part of its input, and whether that can be believed."""
