copies = [numbers] * (1 << 32)
for copy in copies:
    numbers = list(copy)
