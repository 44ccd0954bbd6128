"""One widget a file, each with its own messages; none knows the network."""
