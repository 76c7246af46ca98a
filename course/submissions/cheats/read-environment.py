# What the environment tells: only harmless names may be left in it.
import os

harmless = ("PATH", "HOME", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "PWD", "USER", "LOGNAME")
found = [
    name + "=" + value
    for name, value in os.environ.items()
    if name not in harmless and not name.startswith(("PYTHON", "OMP_", "OPENBLAS_", "MKL_", "NUMEXPR_", "MALLOC_", "MPL"))
]
found += [value for value in os.environ.values() if "password" in value.lower() or "xqueue" in value.lower()]
if found:
    print("LEAK", found)
