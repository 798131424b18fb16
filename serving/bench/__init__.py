"""A load generator for servers of the OpenAI API: `jaxchat bench`. Needs aiohttp, and neither jax nor numpy."""
