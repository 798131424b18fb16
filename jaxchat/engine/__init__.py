"""Host-side scheduling in plain Python and NumPy. It decides what the next step does and never touches a device."""
