class Fifo:
    values = [] + 1

    def put(self, value):
        self.values.append(value)
