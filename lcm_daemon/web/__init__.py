"""HTTP server and origin check, shared by panel and OSCQuery."""
