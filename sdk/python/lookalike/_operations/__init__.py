"""The operations of the client, one module per resource, independent of how they are sent."""
