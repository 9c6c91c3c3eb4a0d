"""What a model is worth on some data: pure functions of what it said of each window, and reports made of them."""
