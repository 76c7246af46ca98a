#include <stdio.h>

int main(void)
{
    const int coins[] = {10, 8, 5, 1};
    int amount;
    scanf("%d", &amount);
    for (int i = 0; i < 4; i++)
        for (; amount >= coins[i]; amount -= coins[i])
            printf("%d ", coins[i]);
    printf("\n");
    return 0;
}
