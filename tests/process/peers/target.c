/* target.c: a process whose memory the tests read and write.
 *
 * It lays out known contents, prints "ready", and then answers each line on
 * its standard input with one line on its standard output:
 *
 *   where NAME            address of something, in hexadecimal (see below)
 *   peek ADDRESS SIZE     the bytes that it sees itself, in hexadecimal
 *   poke ADDRESS HEX      write them itself
 *   protect ADDRESS SIZE PROTECTION
 *   alloc SIZE            VirtualAlloc, zeroed
 *   free ADDRESS          VirtualFree
 *   query ADDRESS         protection of the page, in hexadecimal
 *   churn on|off          a thread that maps and frees memory all the time
 *   share NAME SIZE KEEP  map a named section, and keep its handle if 1;
 *                         address of the view
 *   scribble ADDRESS      a thread that writes other bytes there all the time
 *   exit CODE             end with this exit code
 *
 * Names of `where`:
 *   point       struct point: uint8 0x11, int32 -2, uint16 0x3344, double 1.5
 *   chain       [chain + 0x10] -> a, [a + 0x18] -> b, int32 0x1337 at b + 0x20
 *   list        LIST_NODES nodes of {next, value}, scattered over 1 MiB
 *   text        "\xc3\xa9t\xc3\xa9" in UTF-8; wide: the same in UTF-16
 *   edge        "edge" that ends with its NUL at the end of the last page
 *               before an inaccessible one; open: four bytes without NUL there
 *   pages       16 pages, each filled with its number: see make_pages
 *   border      "ACROSS-THE-BORDER", half in a READWRITE page and half in a
 *               READONLY one
 *   cow         two copy-on-write pages with "COW-SHARED" at the start of the
 *               first, which is untouched, and "COW-PRIVATE" of the second
 */
#include <windows.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 4096
#define LIST_NODES 10000
#define LIST_BYTES (1024 * 1024)

#pragma pack(push, 1)
struct point {
    uint8_t tag;
    int32_t x;
    uint16_t y;
    double z;
};
#pragma pack(pop)

struct node {
    struct node *next;
    uint64_t value;
};

static struct point a_point = {0x11, -2, 0x3344, 1.5};
static char text[] = "\xc3\xa9t\xc3\xa9";
static wchar_t wide[] = L"\u00e9t\u00e9";
static char *chain, *edge, *unterminated, *pages, *border, *cow;
static struct node *list;

__declspec(dllexport) uint32_t target_exported = 0x600D600D;

static void *
must(void *pointer)
{
    if (pointer == NULL) {
        fprintf(stderr, "target: error %lu\n", GetLastError());
        exit(3);
    }
    return pointer;
}

static char *
map_pages(size_t count)
{
    return must(VirtualAlloc(NULL, count * PAGE, MEM_RESERVE | MEM_COMMIT,
                             PAGE_READWRITE));
}

static void
set_protection(char *address, size_t size, DWORD protection)
{
    DWORD old;
    if (!VirtualProtect(address, size, protection, &old)) {
        must(NULL);
    }
}

static void
make_chain(void)
{
    char *a = map_pages(1), *b = map_pages(1);
    chain = map_pages(1);
    *(char **)(chain + 0x10) = a;
    *(char **)(a + 0x18) = b;
    *(int32_t *)(b + 0x20) = 0x1337;
}

/* A list that visits its memory in an order without locality. */
static void
make_list(void)
{
    char *memory = map_pages(LIST_BYTES / PAGE);
    size_t step = LIST_BYTES / LIST_NODES / 8 * 8;
    struct node *previous = NULL;
    size_t place = 0;
    for (int i = LIST_NODES - 1; i >= 0; i--) {
        /* 7919 is a prime that does not divide LIST_NODES. */
        place = (place + 7919) % LIST_NODES;
        struct node *node = (struct node *)(memory + place * step);
        node->next = previous;
        node->value = (uint64_t)i;
        previous = node;
    }
    list = previous;
}

/* 0-3 READWRITE, 4 NOACCESS, 5-6 READWRITE, 7 reserved only, 8 guard,
 * 9 READONLY, 10-12 READWRITE, 13 EXECUTE_READ, 14-15 READWRITE. */
static void
make_pages(void)
{
    pages = map_pages(16);
    for (int i = 0; i < 16; i++) {
        memset(pages + i * PAGE, i + 1, PAGE);
    }
    set_protection(pages + 4 * PAGE, PAGE, PAGE_NOACCESS);
    VirtualFree(pages + 7 * PAGE, PAGE, MEM_DECOMMIT);
    set_protection(pages + 8 * PAGE, PAGE, PAGE_READWRITE | PAGE_GUARD);
    set_protection(pages + 9 * PAGE, PAGE, PAGE_READONLY);
    set_protection(pages + 13 * PAGE, PAGE, PAGE_EXECUTE_READ);
}

static void
make_edges(void)
{
    char *two = map_pages(2);
    edge = two + PAGE - 5;
    memcpy(edge, "edge", 5);
    set_protection(two + PAGE, PAGE, PAGE_NOACCESS);

    two = map_pages(2);
    unterminated = two + PAGE - 4;
    memcpy(unterminated, "open", 4);
    set_protection(two + PAGE, PAGE, PAGE_NOACCESS);

    two = map_pages(2);
    border = two + PAGE - 8;
    memcpy(border, "ACROSS-THE-BORDER", 17);
    set_protection(two + PAGE, PAGE, PAGE_READONLY);
}

static void
make_cow(void)
{
    HANDLE section = must(CreateFileMappingW(
        INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, 2 * PAGE, NULL));
    char *shared = must(MapViewOfFile(section, FILE_MAP_WRITE, 0, 0, 0));
    memcpy(shared, "COW-SHARED", 10);
    memcpy(shared + PAGE, "COW-SHARED", 10);
    cow = must(MapViewOfFile(section, FILE_MAP_COPY, 0, 0, 0));
    memcpy(cow + PAGE, "COW-PRIVATE", 11);
}

static void *
share(const char *name, size_t size, int keep)
{
    HANDLE section = must(CreateFileMappingA(
        INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, (DWORD)size, name));
    void *view = must(MapViewOfFile(section, FILE_MAP_WRITE, 0, 0, size));
    if (!keep) {
        CloseHandle(section);
    }
    return view;
}

static volatile LONG churning;

static DWORD WINAPI
churn(void *unused)
{
    char *blocks[16] = {0};
    unsigned seed = 1;
    (void)unused;
    while (churning) {
        seed = seed * 1103515245u + 12345u;
        unsigned slot = seed >> 16 & 15;
        size_t count = 1 + (seed >> 20 & 15);
        if (blocks[slot] != NULL) {
            VirtualFree(blocks[slot], 0, MEM_RELEASE);
        }
        blocks[slot] = VirtualAlloc(NULL, count * PAGE,
                                    MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
        if (blocks[slot] != NULL) {
            blocks[slot][0] = 'x';
        }
        Sleep(seed >> 28 == 0 ? 1 : 0);
    }
    for (int i = 0; i < 16; i++) {
        if (blocks[i] != NULL) {
            VirtualFree(blocks[i], 0, MEM_RELEASE);
        }
    }
    return 0;
}

static volatile LONG scribbling;

static DWORD WINAPI
scribble(void *address)
{
    unsigned char i = 0;
    while (scribbling) {
        *(volatile unsigned char *)address = i++;
        if (i == 0) {
            Sleep(0);
        }
    }
    return 0;
}

static void
set_churning(int on)
{
    static HANDLE thread;
    churning = on;
    if (on && thread == NULL) {
        thread = must(CreateThread(NULL, 0, churn, NULL, 0, NULL));
    }
    else if (!on && thread != NULL) {
        WaitForSingleObject(thread, INFINITE);
        CloseHandle(thread);
        thread = NULL;
    }
}

static void *
where(const char *name)
{
    static const struct {
        const char *name;
        void *address;
    } fixed[] = {{"point", &a_point},
                 {"text", text},
                 {"wide", wide},
                 {"exported", &target_exported}};
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
        if (strcmp(name, fixed[i].name) == 0) {
            return fixed[i].address;
        }
    }
    return strcmp(name, "chain") == 0    ? chain
           : strcmp(name, "list") == 0   ? (void *)list
           : strcmp(name, "edge") == 0   ? edge
           : strcmp(name, "open") == 0   ? unterminated
           : strcmp(name, "pages") == 0  ? pages
           : strcmp(name, "border") == 0 ? border
           : strcmp(name, "cow") == 0    ? cow
                                         : NULL;
}

static void
peek(const unsigned char *address, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        printf("%02x", address[i]);
    }
    printf("\n");
}

static void
poke(unsigned char *address, const char *hex)
{
    unsigned byte;
    while (sscanf(hex, "%2x", &byte) == 1) {
        *address++ = (unsigned char)byte;
        hex += 2;
    }
    printf("ok\n");
}

static void
answer(char *line)
{
    char word[64] = "", rest[4096] = "";
    unsigned long long address = 0, size = 0, protection = 0;
    if (sscanf(line, "where %63s", word) == 1) {
        printf("%llx\n", (unsigned long long)(uintptr_t)where(word));
    }
    else if (sscanf(line, "peek %llx %llu", &address, &size) == 2) {
        peek((unsigned char *)(uintptr_t)address, (size_t)size);
    }
    else if (sscanf(line, "poke %llx %4095s", &address, rest) == 2) {
        poke((unsigned char *)(uintptr_t)address, rest);
    }
    else if (sscanf(line, "protect %llx %llu %llx", &address, &size,
                    &protection) == 3) {
        set_protection((char *)(uintptr_t)address, (size_t)size,
                       (DWORD)protection);
        printf("ok\n");
    }
    else if (sscanf(line, "alloc %llu", &size) == 1) {
        printf("%llx\n", (unsigned long long)(uintptr_t)VirtualAlloc(
                             NULL, (SIZE_T)size, MEM_RESERVE | MEM_COMMIT,
                             PAGE_READWRITE));
    }
    else if (sscanf(line, "free %llx", &address) == 1) {
        printf("%s\n", VirtualFree((void *)(uintptr_t)address, 0, MEM_RELEASE)
                           ? "ok"
                           : "no");
    }
    else if (sscanf(line, "query %llx", &address) == 1) {
        MEMORY_BASIC_INFORMATION region = {0};
        VirtualQuery((void *)(uintptr_t)address, &region, sizeof(region));
        printf("%lx\n", region.State == MEM_COMMIT ? region.Protect : 0);
    }
    else if (sscanf(line, "churn %63s", word) == 1) {
        set_churning(strcmp(word, "on") == 0);
        printf("ok\n");
    }
    else if (sscanf(line, "share %4095s %llu %llu", rest, &size,
                    &protection) == 3) {
        printf("%llx\n", (unsigned long long)(uintptr_t)share(
                             rest, (size_t)size, protection != 0));
    }
    else if (sscanf(line, "scribble %llx", &address) == 1) {
        scribbling = 1;
        CloseHandle(must(CreateThread(NULL, 0, scribble,
                                      (void *)(uintptr_t)address, 0, NULL)));
        printf("ok\n");
    }
    else if (sscanf(line, "exit %llu", &size) == 1) {
        ExitProcess((UINT)size);
    }
    else {
        printf("what?\n");
    }
}

int
main(void)
{
    char line[8192];
    make_chain();
    make_list();
    make_pages();
    make_edges();
    make_cow();
    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        answer(line);
        fflush(stdout);
    }
    return 0;
}
