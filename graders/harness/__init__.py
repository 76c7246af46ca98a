"""What runs inside the jail: the passes of a gradelib grader. Stdlib only, any CPython >= 3.8.

Runs in: zygote (imported there), child (called there).
"""
