/* telemetry_double.c: both sides of telemetry by a mapping and an event.
 *
 *     telemetry_double write NAME COUNT MS   makes the mapping NAME and the
 *                                            manual-reset event NAME-set; waits
 *                                            for a line, then writes COUNT
 *                                            records, MS milliseconds apart,
 *                                            and sets the event after each
 *     telemetry_double read NAME COUNT       prints "SEQUENCE SPEED GEAR MS"
 *                                            for each record when it is set,
 *                                            MS since the first
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
write_records(record *shared, HANDLE set, int count, int pause)
{
    char line[16];
    printf("ready\n");
    fflush(stdout);
    if (fgets(line, sizeof(line), stdin) == NULL) {
        return 1;
    }
    for (int i = 1; i <= count; i++) {
        record next = {(DWORD)i, 1.5f * (float)i, i % 7, "Monza"};
        memcpy(shared, &next, sizeof(next));
        SetEvent(set);
        Sleep((DWORD)(pause / 2));
        ResetEvent(set);
        Sleep((DWORD)(pause - pause / 2));
    }
    /* The recorder has the last one by now; it ends with our input. */
    printf("done\n");
    fflush(stdout);
    return fgets(line, sizeof(line), stdin) == NULL;
}

static int
read_records(const record *shared, HANDLE set, int count)
{
    double first = 0;
    printf("ready\n");
    fflush(stdout);
    for (int i = 0; i < count; i++) {
        if (WaitForSingleObject(set, 60000) != WAIT_OBJECT_0) {
            return 1;
        }
        double now = now_ms();
        record copy;
        memcpy(&copy, shared, sizeof(copy));
        first = i == 0 ? now : first;
        printf("%lu %.1f %d %.3f\n", (unsigned long)copy.sequence, copy.speed,
               copy.gear, now - first);
        fflush(stdout);
        while (WaitForSingleObject(set, 0) == WAIT_OBJECT_0) {
            Sleep(1);
        }
    }
    return 0;
}

int
main(int argc, char **argv)
{
    if (argc < 4) {
        return 2;
    }
    BOOL writes = strcmp(argv[1], "write") == 0;
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
    return writes ? write_records(shared, set, atoi(argv[3]), atoi(argv[4]))
                  : read_records(shared, set, atoi(argv[3]));
}
