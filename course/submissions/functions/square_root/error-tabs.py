def root(number):
	x = 1
        return x
