"""Do splits leak: the same sound in two of them, and how much accuracy that pretends."""
