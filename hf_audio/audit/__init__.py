"""Audit of the recordings of a corpus: facts about each clip, findings, copies, and a page to listen to them."""
