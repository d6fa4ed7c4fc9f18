"""OSCQuery: the address tree over HTTP and WebSocket."""
