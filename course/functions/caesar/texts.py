"""What is to be encoded."""

MESSAGES = (
    "Attack at dawn",
    "xyz, XYZ!",
    "",
    "The quick brown fox jumps over 13 lazy dogs.",
)
