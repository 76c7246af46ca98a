"""Entry points for the sandbox's own tests. Runs in: child."""


def echo(request):
    return request


def execute(request):
    """Execute the request as Python source; the report is the repr of its variable `result`."""
    space = {"__name__": "attack"}
    exec(compile(request, "attack.py", "exec"), space)
    return repr(space.get("result")).encode("utf-8", "replace")


def read_bundle(request):
    with open("/course/" + request.decode()) as file:
        return file.read().encode()
