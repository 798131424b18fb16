"""The documentation site's generated pages: the home page, and the reference made from sources."""
