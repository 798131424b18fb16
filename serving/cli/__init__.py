"""The command `jaxchat`."""
