# attack: a text that parses into a chain of links on which walkers of trees run out of stack
# expect: input_error error
# repeat: 40000
# first: (x
# then: )
[0]
