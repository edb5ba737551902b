/* toy_game.c: a game for examples/trainer.py. One line in, one line out:
 *
 *   show      health and ammunition, as the player sees them
 *   hit N     lose health
 *   heal N    get some back
 *   shoot     lose one round
 *   where     address of the pointer to the world, in hexadecimal
 *
 * What it knows is behind pointers: world -> player at 8, health at 0x14,
 * weapon at 0x20, its ammunition at 4.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct weapon {
    int32_t kind;
    int32_t ammo;
};

struct player {
    char name[16];
    float x;
    int32_t health;
    uint64_t id;
    struct weapon *weapon;
};

struct world {
    uint64_t seed;
    struct player *player;
};

_Static_assert(offsetof(struct world, player) == 8, "player");
_Static_assert(offsetof(struct player, health) == 0x14, "health");
_Static_assert(offsetof(struct player, weapon) == 0x20, "weapon");

static struct world *volatile the_world;

static int
start(void)
{
    struct world *world = (struct world *)calloc(1, sizeof(*world));
    struct player *player = (struct player *)calloc(1, sizeof(*player));
    struct weapon *weapon = (struct weapon *)calloc(1, sizeof(*weapon));
    if (world == NULL || player == NULL || weapon == NULL) {
        return 0;
    }
    strcpy(player->name, "hero");
    player->health = 12345;
    weapon->ammo = 30;
    player->weapon = weapon;
    world->player = player;
    the_world = world;
    return 1;
}

int
main(void)
{
    char line[100];
    if (!start()) {
        return 1;
    }
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        struct player *player = the_world->player;
        int amount = atoi(line + strcspn(line, " "));
        if (strncmp(line, "where", 5) == 0) {
            printf("%llx\n", (unsigned long long)(uintptr_t)&the_world);
            fflush(stdout);
            continue;
        }
        if (strncmp(line, "hit", 3) == 0) {
            player->health -= amount;
        }
        else if (strncmp(line, "heal", 4) == 0) {
            player->health += amount;
        }
        else if (strncmp(line, "shoot", 5) == 0) {
            player->weapon->ammo--;
        }
        printf("health %d ammo %d\n", player->health, player->weapon->ammo);
        fflush(stdout);
    }
    return 0;
}
