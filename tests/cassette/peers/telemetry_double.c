/* telemetry_double.c: both sides of telemetry by a mapping and an event.
 *
 *     telemetry_double write NAME         makes the mapping NAME and the
 *                                         manual-reset event NAME-set; for
 *                                         each line of its input that begins
 *                                         with "s" it writes a record and sets
 *                                         the event, for others it resets it
 *     telemetry_double read NAME COUNT    prints "SEQUENCE SPEED GEAR MS" for
 *                                         each record when it is set, to that
 *                                         of number COUNT; MS since the first
 */
#include <windows.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    DWORD sequence;
    float speed;
    int gear;
    char track[20];
} record;

enum { ROOM = 65536 };

static double
now_ms(void)
{
    LARGE_INTEGER frequency, count;
    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&count);
    return (double)count.QuadPart * 1000.0 / (double)frequency.QuadPart;
}

static int
write_records(record *shared, HANDLE set)
{
    char line[16];
    int i = 0;
    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        if (line[0] == 's') {
            i++;
            record next = {(DWORD)i, 1.5f * (float)i, i % 7, "Monza"};
            memcpy(shared, &next, sizeof(next));
            SetEvent(set);
        }
        else {
            ResetEvent(set);
        }
    }
    return 0;
}

static int
read_records(const record *shared, HANDLE set, DWORD count)
{
    double first = -1;
    record copy = {0};
    printf("ready\n");
    fflush(stdout);
    while (copy.sequence < count) {
        if (WaitForSingleObject(set, 60000) != WAIT_OBJECT_0) {
            return 1;
        }
        double now = now_ms();
        memcpy(&copy, shared, sizeof(copy));
        first = first < 0 ? now : first;
        printf("%lu %.1f %d %.3f\n", (unsigned long)copy.sequence, copy.speed,
               copy.gear, now - first);
        fflush(stdout);
        while (copy.sequence < count &&
               *(const volatile DWORD *)&shared->sequence == copy.sequence &&
               WaitForSingleObject(set, 0) == WAIT_OBJECT_0) {
            Sleep(1);
        }
    }
    return 0;
}

int
main(int argc, char **argv)
{
    BOOL writes = argc == 3 && strcmp(argv[1], "write") == 0;
    if (!writes && argc != 4) {
        return 2;
    }
    char name[300];
    snprintf(name, sizeof(name), "%s-set", argv[2]);
    HANDLE mapping = writes
                         ? CreateFileMappingA(INVALID_HANDLE_VALUE, NULL,
                                              PAGE_READWRITE, 0, ROOM, argv[2])
                         : OpenFileMappingA(FILE_MAP_READ, FALSE, argv[2]);
    HANDLE set = writes ? CreateEventA(NULL, TRUE, FALSE, name)
                        : OpenEventA(SYNCHRONIZE, FALSE, name);
    record *shared = MapViewOfFile(
        mapping, writes ? FILE_MAP_WRITE : FILE_MAP_READ, 0, 0, 0);
    if (shared == NULL || set == NULL) {
        return 1;
    }
    return writes ? write_records(shared, set)
                  : read_records(shared, set, (DWORD)atoi(argv[3]));
}
