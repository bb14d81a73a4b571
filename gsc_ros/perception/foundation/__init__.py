"""Foundation models of transformers that see; the only folder of perception that imports it."""
