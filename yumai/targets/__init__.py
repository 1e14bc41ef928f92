"""Annual targets: what they come to, their versions, what a set of them must satisfy. Pure."""
