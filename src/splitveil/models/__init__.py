"""Reference networks and adapters for any nn.Module."""
