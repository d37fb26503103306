"""What the client can ask of a server, one module a resource, without saying how it is sent."""
