"""What a release is made of: distributions, their contents, and installs of them on every supported Python."""
