"""The built-in stored forms of quantised safetensors checkpoints, one file each, behind `CHECKPOINT_FORMS`."""
