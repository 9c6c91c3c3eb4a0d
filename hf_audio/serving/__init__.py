"""An HTTP service that tags recordings: `hf-audio serve`. It needs the extra `serve`."""
