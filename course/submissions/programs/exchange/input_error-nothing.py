print("I do not know how")
