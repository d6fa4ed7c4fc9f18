"""The HTTP server and the origin check that page and OSCQuery share."""
