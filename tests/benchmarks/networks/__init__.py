"""One network of one DHT in one process, and what is measured of it: the same operations for each system."""
