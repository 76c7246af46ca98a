def main():
    name = input("Your name? ")
    born = int(input("Year of birth? "))
    for line in greeting(name, 2050 - born):
        print(line)


def greeting(name, age):
    yield "Hello, %s!" % name
    yield "In 2050 you will be %d years old." % age


main()
