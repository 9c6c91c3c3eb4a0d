"""What Inference Endpoints run of a published model: each file goes out as handler.py, beside the card, as it is here.

Nothing of hf_audio imports them, and they import nothing of hf_audio.
"""
