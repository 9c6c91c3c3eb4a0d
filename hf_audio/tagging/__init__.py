"""From a sound to tags: scores of the complete recording, a timeline of windows, and segments.

    tagger = load("someone/ast-irmas")
    tags = tagger("file.wav")                 a path, bytes, a file, samples, a row of `datasets`
    tags.scores, tags.segments                also .timeline, .to_pandas(), .to_json(); a player in a notebook

A service can do the same in three steps: `tagger.prepared(sound)` in any thread, on the CPU; `tagger.logits(inputs)`
for the windows of one or several sounds, in one thread; `tagger.tags(prepared, logits)`.
"""
