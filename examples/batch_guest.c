/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prices orders, and keeps a log of it.
 *
 * Each text would be an exit if it was printed. Logged, it is queued, and the
 * host prints it when the guest leaves anyway.
 */
#include <string.h>
#include <kaon/guest.h>

static const struct {
    char item[8];
    uint32_t cents;
} prices[] = { { "tea", 250 }, { "coffee", 320 }, { "cake", 410 } };

static uint64_t total;

static void log_order(const char *what, const char *item)
{
    kaon_log(what);
    kaon_log(item);
    kaon_log("\n");
}

static uint32_t order(const char *item, uint32_t count)
{
    for (size_t i = 0; i < sizeof prices / sizeof prices[0]; i++) {
        uint32_t cents = prices[i].cents * count;

        if (strcmp(prices[i].item, item) != 0)
            continue;
        total += cents;
        log_order("  log: sold ", item);
        return cents;
    }
    log_order("  log: what is ", item);
    kaon_fail(404, "it is not on the menu");
}
KAON_EXPORT(order, u32, string, u32);

static uint64_t sum(void)
{
    return total;
}
KAON_EXPORT(sum, u64);
