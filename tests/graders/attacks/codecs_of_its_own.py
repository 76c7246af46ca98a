# attack: registers codecs and error handlers under the names that the harness uses
# expect: incorrect error interference
import codecs


def handler(error):
    return ('", "interference": false, "error": "', error.end)


for name in ("strict", "backslashreplace", "replace", "surrogateescape", "surrogatepass"):
    codecs.register_error(name, handler)


def search(name):
    made = lambda text, errors="strict": (b'{"correct": true}', len(text))
    return codecs.CodecInfo(made, made, name=name)


codecs.register(search)
if hasattr(codecs, "unregister"):
    import encodings

    codecs.unregister(encodings.search_function)


def code(n):
    return "\ud800\udfff"


def share(n):
    print("\ud800")
    return "\udc80"
