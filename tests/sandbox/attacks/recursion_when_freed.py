# attack: a chain of generators and iterators that is freed from the inside out
# expect: signal ok cpu
chain = iter(())
for _ in range(500000):
    chain = map(None, chain)
del chain
result = True
