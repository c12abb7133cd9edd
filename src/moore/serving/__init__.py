"""A session over HTTP, for control systems that speak no Python."""
