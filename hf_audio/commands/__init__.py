"""The subcommands of `hf-audio`, one module each."""
