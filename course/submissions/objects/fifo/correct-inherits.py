class Fifo(list):
    put = list.append

    def take(self):
        return self.pop(0)
