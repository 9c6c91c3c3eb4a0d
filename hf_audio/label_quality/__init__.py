"""What is wrong with labels: probable errors, corrections compared, agreement, two kinds under one label."""
