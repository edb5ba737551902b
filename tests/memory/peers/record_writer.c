/* record_writer.c: writes whole records by the protocols of other programs.
 *
 *   record_writer NAME PROTOCOL SIZE forever [REST_US SETTLE_US]   slower, with rests
 *   record_writer NAME PROTOCOL SIZE COUNT   ...then one for each line that comes
 *   record_writer NAME PROTOCOL SIZE middle  3 records, and half of the 4th
 *
 * It knows nothing of winipc. Record N is the number N of 32 bits, again and again; one
 * that is torn has two numbers. The mapping NAME exists:
 *
 *   0      sequence, begin or flag; with "newest" the number of buffers
 *   4      the end of "begin-end"
 *   16     "newest": tick and place of each of 4 buffers, 16 bytes apart
 *   128    how many records took longer than SETTLE_US, and from 132 on which; after
 *          them the one in hand, which this program may be killed in
 *   65536  the record; the 4 of "newest" and the 2 of "double" follow each other
 *
 * With "inside" the fifth number of the record is its sequence. "mutex" takes
 * NAME.mutex, and "newest" sets NAME.event. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#define BUFFERS 4
#define SLOW_ROOM ((65536 - 132) / 4 - 1)

enum {
    SEQLOCK,
    INSIDE,
    BEGIN_END,
    TWO,
    NEWEST,
    COUNTER,
    BUSY,
    MUTEX,
    NONE,
    KINDS
};

static const char *const names[KINDS] = {"seqlock", "inside", "begin-end",
                                         "double",  "newest", "counter",
                                         "busy",    "mutex",  "none"};

static char *memory;
static volatile LONG *words; /* at offset 0 */
static DWORD size;
static int kind, stops, pauses; /* between two numbers of a record */
static HANDLE mutex, event;

static double
now_us(void)
{
    LARGE_INTEGER count, frequency;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&frequency);
    return (double)count.QuadPart * 1e6 / (double)frequency.QuadPart;
}

static void
say(const char *text)
{
    puts(text);
    fflush(stdout);
}

/* All numbers of a record, but for a sequence that lies in it. */
static void
fill(char *to, LONG number)
{
    volatile LONG *record = (volatile LONG *)to;
    for (DWORD i = 0; i < size / 4; i++) {
        if (stops && i == size / 8) {
            say("middle");
            Sleep(INFINITE);
        }
        if (kind != INSIDE || i != 4) {
            record[i] = number;
        }
        for (int pause = 0; pause < pauses; pause++) {
            YieldProcessor();
        }
    }
}

static void
put(LONG number)
{
    char *record = memory + 65536;
    volatile LONG *sequence = kind == INSIDE ? (LONG *)record + 4 : words;
    volatile LONG *tick = words + 4 + number % BUFFERS * 4;
    switch (kind) {
    case SEQLOCK:
    case INSIDE:
        InterlockedIncrement(sequence);
        fill(record, number);
        InterlockedIncrement(sequence);
        break;
    case BEGIN_END:
        InterlockedIncrement(words);
        fill(record, number);
        InterlockedIncrement(words + 1);
        break;
    case TWO: /* an even sequence means the first */
        fill(record + (*words % 2 == 0 ? size : 0), number);
        InterlockedIncrement(words);
        break;
    case NEWEST:
        fill(record + number % BUFFERS * (LONG)size, number);
        InterlockedExchange(tick, number);
        SetEvent(event);
        break;
    case COUNTER:
        fill(record, number);
        InterlockedIncrement(words);
        break;
    case BUSY:
        InterlockedExchange(words, 1);
        fill(record, number);
        InterlockedExchange(words, 0);
        break;
    case MUTEX:
        WaitForSingleObject(mutex, INFINITE);
        fill(record, number);
        ReleaseMutex(mutex);
        break;
    default:
        fill(record, number);
        break;
    }
}

int
main(int argc, char **argv)
{
    char name[300], line[80];
    if (argc < 5) {
        return 2;
    }
    while (kind < KINDS && strcmp(names[kind], argv[2]) != 0) {
        kind++;
    }
    HANDLE section = OpenFileMappingA(FILE_MAP_WRITE, FALSE, argv[1]);
    memory = MapViewOfFile(section, FILE_MAP_WRITE, 0, 0, 0);
    words = (volatile LONG *)memory;
    size = (DWORD)atoi(argv[3]);
    if (memory == NULL || kind == KINDS) {
        fprintf(stderr, "%s %s: error %lu\n", argv[1], argv[2],
                GetLastError());
        return 1;
    }
    snprintf(name, sizeof(name), "%s.mutex", argv[1]);
    mutex = CreateMutexA(NULL, FALSE, name);
    snprintf(name, sizeof(name), "%s.event", argv[1]);
    event = CreateEventA(NULL, FALSE, FALSE, name);
    if (kind == NEWEST) {
        words[0] = BUFFERS;
        for (LONG i = 0; i < BUFFERS; i++) {
            words[4 + 4 * i] = 0;
            words[5 + 4 * i] = 65536 + i * (LONG)size;
        }
    }
    double rest = argc > 5 ? atof(argv[5]) : 0;
    pauses = rest > 0 ? 5 : 0;
    double settle = argc > 6 ? atof(argv[6]) : 0;
    LONG count = strcmp(argv[4], "forever") == 0  ? MAXLONG
                 : strcmp(argv[4], "middle") == 0 ? 3
                                                  : atoi(argv[4]);
    LONG number = 1;
    for (; number <= count; number++) {
        words[33 + words[32]] = number;
        double start = now_us();
        put(number);
        double end = now_us();
        /* Tell the reader of one that took too long: it was interrupted. */
        if (settle > 0 && end - start >= settle && words[32] < SLOW_ROOM) {
            InterlockedIncrement(words + 32);
        }
        if (number == 3) {
            say("ready");
        }
        while (rest > 0 && now_us() - end < rest) {
            SwitchToThread();
        }
    }
    if (strcmp(argv[4], "middle") == 0) {
        stops = 1;
        put(number);
    }
    say("rest");
    while (fgets(line, sizeof(line), stdin) != NULL) {
        put(number++);
        say("wrote");
    }
    return 0;
}
