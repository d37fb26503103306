"""Commands about a cluster: what they ask its API server, through the operator's own client."""
