class Node:
    def __init__(self, value):
        self.value = value
        self.next = None


class Fifo:
    def __init__(self):
        self.first = self.last = None
        self.size = 0

    def __len__(self):
        return self.size

    def put(self, value):
        node = Node(value)
        if self.last:
            self.last.next = node
        else:
            self.first = node
        self.last = node
        self.size += 1

    def take(self):
        if self.first is None:
            raise KeyError("empty, with words of its own")
        node = self.first
        self.first = node.next
        if self.first is None:
            self.last = None
        self.size -= 1
        return node.value
