"""What goes on air: framing, payloads, erasure codes, security, keys."""
