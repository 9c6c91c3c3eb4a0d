"""A package only so that the folder is installed with hf_audio; a Space does not need this file."""
