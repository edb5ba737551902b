/* signed.h: a program of which tests make signatures, in several builds.
 *
 *   signed_one.c    the first one
 *   signed_two.c    other constants and offsets, and another place for all
 *   signed_three.c  the second one, not optimised
 *
 * It prints "ready", and then the truth about itself for each line on its
 * standard input, which is a name: the address in hexadecimal of a function
 * (score_of, hit, heal, level_of) or a variable (score, lives, player, level);
 * or `module`, where the program is.
 */
#include <windows.h>

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#ifdef _MSC_VER
#define NOINLINE __declspec(noinline)
#else
#define NOINLINE __attribute__((noinline))
#endif

/* The first function is elsewhere in other builds, and all behind it. */
#if BUILD > 1 && !defined(_MSC_VER)
#define MOVED __attribute__((aligned(1024)))
#else
#define MOVED
#endif

struct player {
    char name[BUILD == 1 ? 16 : 32];
    int32_t health;
    int32_t armour;
};

#if BUILD > 1
/* More than a page: the linker may give all builds the same time. */
volatile int32_t before[20000] = {1};
#endif
volatile int32_t lives = 3;
volatile int32_t score = 100;
volatile int32_t level = 1;
volatile struct player player = {"hero", 100, 50};

MOVED NOINLINE int32_t
score_of(void)
{
    return score * (BUILD == 1 ? 1237 : 4711) + lives;
}

NOINLINE int32_t
level_of(int32_t by)
{
    level += by;
    return level * (BUILD == 1 ? 100001 : 100002) ^ score_of();
}

NOINLINE void
hit(volatile struct player *who, int32_t damage)
{
    int32_t kept = who->armour * (BUILD == 1 ? 3001 : 5003) >> 12;
    if (damage > kept) {
        who->health -= damage - kept;
    }
    score += level_of(damage & 7);
}

NOINLINE void
heal(volatile struct player *who, int32_t by)
{
    who->health += by;
    who->armour ^= who->health;
    hit(who, who->armour & 1);
}

int
main(void)
{
    static const struct {
        const char *name;
        uintptr_t address;
    } truth[] = {
        {"score_of", (uintptr_t)score_of}, {"hit", (uintptr_t)hit},
        {"heal", (uintptr_t)heal},         {"level_of", (uintptr_t)level_of},
        {"score", (uintptr_t)&score},      {"lives", (uintptr_t)&lives},
        {"player", (uintptr_t)&player},    {"level", (uintptr_t)&level},
    };
    char line[100];
    heal(&player, BUILD);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        uintptr_t address = (uintptr_t)GetModuleHandleW(NULL);
        line[strcspn(line, "\r\n")] = 0;
        for (size_t i = 0; i < sizeof(truth) / sizeof(truth[0]); i++) {
            if (strcmp(line, truth[i].name) == 0) {
                address = truth[i].address;
            }
        }
        printf("%llx\n", (unsigned long long)address);
        fflush(stdout);
    }
    return 0;
}
