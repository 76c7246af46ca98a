def Fifo():
    return []
