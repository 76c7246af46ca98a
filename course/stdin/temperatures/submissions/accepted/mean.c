#include <stdio.h>

int main(void)
{
    int n;
    double sum = 0, t;
    if (scanf("%d", &n) != 1)
        return 1;
    for (int i = 0; i < n && scanf("%lf", &t) == 1; i++)
        sum += t;
    printf("%f\n", sum / n * 9 / 5 + 32);
    return 0;
}
