"""The XQueue wire protocol, both ends: the codec, the pulling client, and the embedded server."""
