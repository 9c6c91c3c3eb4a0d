"""A service over HTTP that tags recordings: `hf-audio serve`. Needs the extra `serve`."""
