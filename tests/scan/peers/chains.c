/* chains.c: a program whose chains of pointers are known, and move at each start.
 *
 *     chains.exe SEED chains.dll
 *
 * By SEED the heap is elsewhere, and the DLL, whose variable "root" it uses as
 * its own. A value is at the end of these chains, which "truth" prints as
 * module, offset and offsets, in hexadecimal:
 *
 *     chains.exe world -> world.player -> player.stats -> stats.value
 *     chains.exe self                                  -> stats.value
 *     chains.dll root  -> tail, 24 bytes into a player -> stats.value
 *
 * It answers lines of its standard input:
 *
 *   where            the value's address
 *   peek             the value
 *   truth            the chains, and "end"
 *   move             free all objects, and make them elsewhere
 *   churn on, off    move on and on, and other memory too, in a thread
 *   big MIB          so much memory, half of it pointers
 */
#include <windows.h>

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct stats {
    char name[0x2c];
    int32_t value;
    char rest[0x100];
};

struct player {
    char name[0x40];
    struct stats *stats;
};

struct world {
    char name[0x18];
    struct player *player;
    char rest[0x800];
};

static struct {
    int32_t kept[6];
    struct world *world;
} game;
static int32_t *volatile self;
static char **root; /* in the DLL */
static HANDLE heap;
static CRITICAL_SECTION moving;
static volatile LONG churning;

static void *
must(void *pointer)
{
    if (pointer == NULL) {
        fprintf(stderr, "chains: error %lu\n", GetLastError());
        exit(3);
    }
    return pointer;
}

static void *
make(size_t size)
{
    return must(HeapAlloc(heap, HEAP_ZERO_MEMORY, size));
}

static void
move(int32_t value)
{
    struct world *old = game.world;
    struct world *world = make(sizeof(*world));
    world->player = make(sizeof(*world->player));
    world->player->stats = make(sizeof(*world->player->stats));
    world->player->stats->value = value;
    game.world = world;
    self = &world->player->stats->value;
    *root = (char *)world->player + 24;
    if (old != NULL) {
        HeapFree(heap, 0, old->player->stats);
        HeapFree(heap, 0, old->player);
        HeapFree(heap, 0, old);
    }
}

static DWORD WINAPI
churn(void *unused)
{
    void *blocks[16] = {0};
    unsigned seed = 1;
    (void)unused;
    while (churning) {
        seed = seed * 1103515245u + 12345u;
        void **block = &blocks[seed >> 16 & 15];
        if (*block != NULL) {
            VirtualFree(*block, 0, MEM_RELEASE);
        }
        *block = VirtualAlloc(NULL, 1 + (seed >> 12 & 0x3ffff),
                              MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
        if (*block != NULL) {
            *(void **)*block = *block;
        }
        EnterCriticalSection(&moving);
        move(*self);
        LeaveCriticalSection(&moving);
        Sleep(seed >> 29 == 0 ? 1 : 0);
    }
    for (int i = 0; i < 16; i++) {
        if (blocks[i] != NULL) {
            VirtualFree(blocks[i], 0, MEM_RELEASE);
        }
    }
    return 0;
}

static void
set_churning(int on)
{
    static HANDLE thread;
    churning = on;
    if (on) {
        thread = must(CreateThread(NULL, 0, churn, NULL, 0, NULL));
    }
    else {
        WaitForSingleObject(thread, INFINITE);
        CloseHandle(thread);
    }
}

/* Every second word leads somewhere in the block. */
static void
big(size_t size)
{
    uintptr_t *words = must(
        VirtualAlloc(NULL, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE));
    for (size_t i = 0; i < size / sizeof(*words); i += 2) {
        words[i] = (uintptr_t)words + i * 7919 * sizeof(*words) % size;
    }
}

static void
truth(const char *dll)
{
    char *base = (char *)GetModuleHandleW(NULL);
    printf("chains.exe %zx %zx %zx %zx\n",
           (size_t)((char *)&game.world - base),
           offsetof(struct world, player), offsetof(struct player, stats),
           offsetof(struct stats, value));
    printf("chains.exe %zx 0\n", (size_t)((char *)&self - base));
    base = (char *)GetModuleHandleA(dll);
    printf("chains.dll %zx %zx %zx\n", (size_t)((char *)root - base),
           offsetof(struct player, stats) - 24, offsetof(struct stats, value));
    printf("end\n");
}

int
main(int count, char **arguments)
{
    char line[256];
    unsigned mebibytes;
    const size_t seed = count == 3 ? strtoul(arguments[1], NULL, 10) : 0;
    /* Where the DLL would be, and before where it will be. */
    VirtualAlloc(
        (void *)(uintptr_t)(sizeof(void *) == 8 ? 0x180000000 : 0x10000000),
        65536, MEM_RESERVE, PAGE_NOACCESS);
    VirtualAlloc(NULL, 1 + seed * 65536, MEM_RESERVE, PAGE_NOACCESS);
    heap = must(HeapCreate(0, 0, 0));
    memset(make(1 + 1000 * seed), 1, 1000 * seed);
    HMODULE dll = must(LoadLibraryA(arguments[count - 1]));
    root = must((void *)GetProcAddress(dll, "root"));
    InitializeCriticalSection(&moving);
    move(1000 + (int32_t)seed);
    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        EnterCriticalSection(&moving);
        line[strcspn(line, "\r\n")] = '\0';
        if (strcmp(line, "where") == 0) {
            printf("%zx\n", (size_t)self);
        }
        else if (strcmp(line, "peek") == 0) {
            printf("%d\n", (int)*self);
        }
        else if (strcmp(line, "truth") == 0) {
            truth(arguments[count - 1]);
        }
        else if (strcmp(line, "move") == 0) {
            make(3000);
            move(*self);
            printf("ok\n");
        }
        else if (sscanf(line, "big %u", &mebibytes) == 1) {
            big((size_t)mebibytes << 20);
            printf("ok\n");
        }
        LeaveCriticalSection(&moving);
        if (strncmp(line, "churn ", 6) == 0) {
            set_churning(strcmp(line + 6, "on") == 0);
            printf("ok\n");
        }
        fflush(stdout);
    }
    return 0;
}
