"""The code that Inference Endpoints run for a published model: `network.py` or `classical.py`, and `request.py`.

`publishing/handler.py` joins two of them into one file, which is published as handler.py beside the card. hf_audio does
not import these modules, and they do not import hf_audio.
"""
