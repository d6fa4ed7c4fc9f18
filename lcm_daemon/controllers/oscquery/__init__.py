"""The OSCQuery controller: the OSC address tree over HTTP and WebSocket."""
