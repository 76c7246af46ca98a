# attack: instruments every function that runs after it and changes lists and flags on their way back
# expect: incorrect error interference
import sys


def improve(value):
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        value[:] = ["1\n"] * len(value)
    if isinstance(value, dict) and "interference" in value:
        value.update(interference=False, error="", hint="")


def on_return(code_object, offset, value):
    improve(value)


def trace(frame, event, argument):
    if event == "return":
        improve(argument)
    return trace


if hasattr(sys, "monitoring"):
    sys.monitoring.use_tool_id(3, "cheat")
    sys.monitoring.register_callback(3, sys.monitoring.events.PY_RETURN, on_return)
    sys.monitoring.set_events(3, sys.monitoring.events.PY_RETURN)
else:
    frame = sys._getframe()
    sys.settrace(trace)
    while frame is not None:
        frame.f_trace = trace
        frame = frame.f_back


def code(n):
    return 1


share = code
