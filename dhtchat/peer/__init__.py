"""Links between peers: frames, the identity proof inside TLS, one connection, and the pool of them."""
