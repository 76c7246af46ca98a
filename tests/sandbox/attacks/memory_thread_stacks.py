# attack: threads with huge stacks
# expect: processes memory exit
import threading, time

threading.stack_size(64 << 20)
while True:
    threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
