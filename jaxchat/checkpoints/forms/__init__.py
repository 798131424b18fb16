"""The built-in stored forms of quantised safetensors checkpoints, one file each; `CHECKPOINT_FORMS` names them."""
