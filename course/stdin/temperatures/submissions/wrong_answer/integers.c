#include <stdio.h>

int main(void)
{
    int n, sum = 0;
    double t;
    scanf("%d", &n);
    for (int i = 0; i < n && scanf("%lf", &t) == 1; i++)
        sum += t; /* loses what stands behind the point */
    printf("%d\n", sum / n * 9 / 5 + 32);
    return 0;
}
