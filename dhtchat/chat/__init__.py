"""What talk means: rooms, private talk, commands, events. No sockets, no files, no clock."""
