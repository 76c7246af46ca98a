#include <stdio.h>

static const int coins[] = {1, 5, 8, 10};

int main(void)
{
    static int fewest[2001], last[2001];
    int amount;
    if (scanf("%d", &amount) != 1)
        return 1;
    for (int n = 1; n <= amount; n++) {
        fewest[n] = n + 1;
        for (int i = 0; i < 4; i++)
            if (coins[i] <= n && fewest[n - coins[i]] + 1 < fewest[n]) {
                fewest[n] = fewest[n - coins[i]] + 1;
                last[n] = coins[i];
            }
    }
    for (int n = amount; n > 0; n -= last[n])
        printf("%d ", last[n]);
    printf("\n");
    return 0;
}
