# The polite way of leaving early.
raise SystemExit(0)
