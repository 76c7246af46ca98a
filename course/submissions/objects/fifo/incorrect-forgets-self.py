class Fifo:
    def __init__():
        values = []

    def put(value):
        values.append(value)

    def take():
        return values.pop(0)
