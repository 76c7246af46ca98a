"""The import name that existing course graders use; shown to them inside the jail.

Runs in: zygote, child. Stdlib only, any CPython >= 3.8.
"""
