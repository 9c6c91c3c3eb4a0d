"""What is wrong with the recordings of a corpus: facts of each clip, findings, copies, a page to listen to."""
