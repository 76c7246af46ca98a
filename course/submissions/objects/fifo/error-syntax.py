class Fifo
    pass
