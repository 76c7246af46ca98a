# attack: looks for secrets in the environment
# expect: ok
# report: []
import os

KNOWN = {"PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "USER", "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE",
         "MALLOC_ARENA_MAX", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "MPLBACKEND"}
result = sorted(set(os.environ) - KNOWN)
