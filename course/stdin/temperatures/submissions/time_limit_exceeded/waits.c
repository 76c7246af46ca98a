#include <stdio.h>

int main(void)
{
    int n, i = 0;
    double sum = 0, t;
    scanf("%d", &n);
    while (i < n) /* and i stays as it is */
        if (scanf("%lf", &t) == 1)
            sum += t;
    printf("%f\n", sum / n * 9 / 5 + 32);
    return 0;
}
