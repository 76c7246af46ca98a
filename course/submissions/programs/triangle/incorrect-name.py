for row in range(height):
    print(stars)
