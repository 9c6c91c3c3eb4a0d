"""From a sound to tags: scores of the whole, a timeline of windows, segments.

    tagger = load("someone/ast-irmas")
    tags = tagger("file.wav")                 a path, bytes, a file, samples, a row of `datasets`
    tags.scores, tags.segments                also .timeline, .to_pandas(), .to_json(); a player in a notebook

What a service does of many requests at once is the same in three steps: `tagger.prepared(sound)` on the CPU, in any
thread; `tagger.logits(inputs)` of the windows of one or several, in one thread; `tagger.tags(prepared, logits)`.
"""
