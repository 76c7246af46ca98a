# attack: errors in places where the interpreter can only print them
# expect: output cpu
class Noisy:
    def __del__(self):
        raise ValueError("x" * 10000)


while True:
    Noisy()
