"""What the payloads of a link are about: rules for the messages that go over it."""
