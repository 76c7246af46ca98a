def bubble(position):
    return bubble(position + 1)


bubble(0)
