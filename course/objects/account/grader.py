"""Methods that a class must and must not have, and tests made in a loop."""

from grader_support import gradelib


def movements(*amounts):
    def test(submission_module):
        account = submission_module.Account()
        for amount in amounts:
            try:
                if amount >= 0:
                    account.deposit(amount)
                else:
                    account.withdraw(-amount)
            except ValueError:
                print("refused", amount)
            print(account.balance())

    return test


grader = gradelib.Grader()
grader.add_input_check(gradelib.required_class_method("Account", "deposit"))
grader.add_input_check(gradelib.required_class_method("Account", "withdraw"))
grader.add_input_check(gradelib.required_class_method("Account", "balance"))
grader.add_input_check(gradelib.prohibited_class_method("Account", "__getattr__"))
grader.add_input_check(gradelib.prohibited_keyword("global"))

for amounts in ((), (100,), (100, -30, -70), (50, -51, 1), (-1,), (5, 5, -3, -8, 8, -7, 0)):
    grader.add_test(
        gradelib.Test(movements(*amounts), "Movements: %s" % (", ".join(map(str, amounts)) or "none"))
    )
