"""The parts of `jaxchat chat`: a conversation, its commands, and what the terminal shows."""
