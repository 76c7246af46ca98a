/* coins INPUT ANSWER FEEDBACK_DIR < output: 42 if the coins make the amount and are as few as they can be. */
#include <stdarg.h>
#include <stdio.h>

static char folder[200];

static int wrong(const char *format, ...)
{
    char path[300];
    va_list values;
    snprintf(path, sizeof path, "%s/judgemessage.txt", folder);
    FILE *said = fopen(path, "w");
    if (!said)
        return 1;
    va_start(values, format);
    vfprintf(said, format, values);
    va_end(values);
    fclose(said);
    return 43;
}

int main(int argc, char **argv)
{
    int amount, fewest, coin, sum = 0, coins = 0, got;
    if (argc < 4)
        return 1;
    snprintf(folder, sizeof folder, "%s", argv[3]);
    FILE *input = fopen(argv[1], "r"), *answer = fopen(argv[2], "r");
    if (!input || !answer || fscanf(input, "%d", &amount) != 1 || fscanf(answer, "%d", &fewest) != 1)
        return 1;
    while ((got = scanf("%d", &coin)) == 1) {
        if (coin != 1 && coin != 5 && coin != 8 && coin != 10)
            return wrong("There is no coin of %d.", coin);
        sum += coin;
        if (++coins > amount)
            return wrong("These are more coins than the amount.");
    }
    if (got != EOF)
        return wrong("Something that is no number was printed.");
    if (sum != amount)
        return wrong("The coins make %d, not %d.", sum, amount);
    if (coins > fewest)
        return wrong("%d coins are more than needed.", coins);
    return 42;
}
