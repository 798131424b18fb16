"""Speed side by side: jaxchat and its peers on one model, in one run."""
