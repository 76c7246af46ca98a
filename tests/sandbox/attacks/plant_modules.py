# attack: leaves modules that later interpreters would import: sitecustomize, .pth, .pyc, a user's site-packages
# expect: ok
# report: []
import os, site, sys

folders = [*sys.path, site.getusersitepackages(), "/home/learner/.local/lib/python3.11/site-packages", "/warden/__pycache__"]
folders += [os.path.join(top, "__pycache__") for top in sys.path] + [os.path.dirname(os.__file__), "/course", "/usr/local/lib"]
planted = []
for folder in folders:
    for name in ("sitecustomize.py", "usercustomize.py", "evil.pth", "os.py", "json.cpython-311.pyc", "python311._pth", "pyvenv.cfg"):
        path = os.path.realpath(os.path.join(folder, name))
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "xb") as file:
                file.write(b"import os; os._exit(0)\n")
            planted.append(path)
        except OSError:
            pass
result = [path for path in planted if not path.startswith(os.path.realpath(os.getcwd()) + "/")]
