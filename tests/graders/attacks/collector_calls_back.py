# attack: callbacks of the garbage collector that empty the harness's lists and rewrite its dictionaries
# expect: incorrect error interference
import gc


def collected(phase, details):
    for thing in gc.get_objects():
        if type(thing) is dict and "interference" in thing and "outputs" in thing:
            thing.update(interference=False, error="", hint="", outputs=["1\n"] * 7)
        if type(thing).__name__ == "_Ran":
            thing.outputs.clear()


gc.callbacks.append(collected)


def code(n):
    gc.set_threshold(5, 1, 1)
    gc.collect()
    return 1


share = code
