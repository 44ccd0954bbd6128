"""The DHT: who is near a key, what they hold, and whom to believe. The only user of the kademlia and rpcudp libraries."""
