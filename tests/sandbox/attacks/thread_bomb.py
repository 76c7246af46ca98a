# attack: as many threads as it can get
# expect: processes
import threading, time

for _ in range(1000):
    threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
