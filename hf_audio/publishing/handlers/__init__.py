"""What Inference Endpoints run of a published model: `network.py` or `classical.py`, with `request.py` in front.

`publishing/handler.py` makes one file of the two, which goes out as handler.py beside the card. Nothing of hf_audio
imports them, and they import nothing of hf_audio.
"""
