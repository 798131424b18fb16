"""What a model would need and reach on given hardware, from shapes alone: no device, no weights."""
