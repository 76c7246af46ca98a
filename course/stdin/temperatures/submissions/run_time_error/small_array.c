#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    int n;
    double t[4], sum = 0;
    scanf("%d", &n);
    if (n > 1)
        abort(); /* as a checked array would */
    for (int i = 0; i < n; i++) {
        scanf("%lf", &t[i]);
        sum += t[i];
    }
    printf("%f\n", sum / n * 9 / 5 + 32);
    return 0;
}
