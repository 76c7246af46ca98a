# attack: a thread changes the list of outputs while the harness turns it into a report
# expect: incorrect error interference
import sys
import threading

sys.setswitchinterval(1e-6)
main = threading.main_thread().ident


def rewrite():
    while True:
        frame = sys._current_frames().get(main)
        while frame is not None:
            for value in list(frame.f_locals.values()):
                if type(value) is list and value and all(type(one) is str for one in value):
                    value.append("1\n")
                    value[0] = "1\n"
                if type(value) is dict and "interference" in value:
                    value["correct"] = True
            frame = frame.f_back


def code(n):
    if n == 5:
        threading.Thread(target=rewrite, daemon=True).start()
    return "x" * 10000


share = code
