"""The program behind every face: `ChatNode` wires records, DHT, links, history and talk together."""
